"""Where every artifact lies, relative to the project's root. dvc.yaml names the same paths (tested)."""

from pathlib import Path

INTERIM = Path("data/interim")
INTERACTIONS = INTERIM / "interactions.parquet"
ITEMS = INTERIM / "items.parquet"
QUARANTINE = INTERIM / "quarantine.parquet"
LOG_STORE = INTERIM / "log_store"
"""State of step `ingest` that outlives a run: what the log files say, by event date. A function of these files."""
KEPT_ASIDE = INTERIM / "kept_aside.parquet"
"""Log events that wait for the catalogue to know their items."""
SOURCE_USERS = INTERIM / "source_users.parquet"
ACCEPTED = INTERIM / "accepted.json"
"""State of step `validate` that outlives a run: the batches of log files that it let through."""
VALIDATION = INTERIM / "validation.json"
VALIDATION_PAGE = Path("reports/validation.html")

PREVIOUS = Path("data/previous")
"""An earlier generation, if any (tasks/previous.py): an input, so that ids keep index and vectors their meaning."""

FEATURES = Path("data/features")
USER_IDS = FEATURES / "user_ids.parquet"
ITEM_IDS = FEATURES / "item_ids.parquet"
CATALOGUE = FEATURES / "catalogue.parquet"
SEQUENCES = FEATURES / "sequences.parquet"
SPLIT = FEATURES / "split.json"
"""How the log was cut, and until when the models of this split have seen it."""
CF_FACTORS = FEATURES / "cf.safetensors"
ANCHOR = FEATURES / "anchor.safetensors"
"""The vectors that began the CF space, as their generation wrote them."""
DRIFT = FEATURES / "drift.json"
"""How far this generation's vectors are from the anchor's, and what is made anew because of it."""
ITEM_TEXT_PAIRS = FEATURES / "item_text.parquet"
ITEM_ITEM_PAIRS = FEATURES / "item_item.parquet"
USER_ITEM_PAIRS = FEATURES / "user_item.parquet"
EXAMPLES = FEATURES / "examples.parquet"

MODELS = Path("data/models")
PRETRAINED = MODELS / "encoder"
FINETUNED = MODELS / "ilm"

EVALUATION = Path("data/evaluation")
SCORES = EVALUATION / "scores.parquet"
METRICS = Path("reports/metrics.json")
SHOWCASE = Path("reports/showcase.json")
"""What the report shows beside the metrics."""
REPORT = Path("reports/report.html")
COST = Path("reports/cost")
"""One small JSON per step: seconds, peak memory, MLflow run."""

CHECKPOINTS = Path(".checkpoints")
"""Training state of unfinished runs; outside DVC, which would delete it before a step starts."""
