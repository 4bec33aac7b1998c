"""Ranking the whole catalogue with a trained Item-Language Model."""
