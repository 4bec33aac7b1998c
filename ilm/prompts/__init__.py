"""Recommendation tasks as prompts: templates, and their rendering to token batches."""
