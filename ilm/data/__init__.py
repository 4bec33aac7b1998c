"""From logs to training examples: sources, ingest rules, the data contract, splits, pairs. Tables are polars frames."""
