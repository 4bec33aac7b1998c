"""Original distributions of public data sets -> the two raw tables. Damage in a line is left for the rules of ingest:
the ids of such a line are missing, its number and its text go to quarantine."""
