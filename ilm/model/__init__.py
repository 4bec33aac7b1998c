"""The networks: Q-Former, stage-1 losses, frozen language model, bridge and retrieval head."""
