"""Evaluation: full-catalogue ranks, metrics, paired tests, and the report that a person reads."""
