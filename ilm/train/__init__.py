"""Training: one loop, its checkpoints, stage 1 and stage 2."""
