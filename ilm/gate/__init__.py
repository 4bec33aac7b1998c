"""The gate: two models on the same fresh holdout, one paired test, guardrails, and a decision that is written down."""
