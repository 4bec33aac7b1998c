"""The model card: README.md of a model's folder, written from what the folder holds. Equal models give equal cards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ilm.files import read_json
from ilm.serve.evaluation_card import evaluation_sections

HAS_HISTORIES = "The folder holds the histories of the users it was trained on: hand it on only where these may go."
_CARD = """\
---
library_name: item-language-model
tags: [recommendation, item-language-model]
---
# Item-Language Model

A recommender whose language model is frozen and reads items and users as soft tokens
([arXiv 2406.02844](https://arxiv.org/abs/2406.02844)).

| | |
|---|---|
{rows}

## Data

{data} {histories}

{evaluation}

## Use

```python
from ilm import ItemLanguageModel

model = ItemLanguageModel.from_pretrained("path/to/this/folder")
model.rank(history={examples}, k=10)
```

The language model's weights are not in the folder; they are loaded by name and refused if their hash is another.
"""


def model_card(folder: Path, evaluation: Mapping[str, Any] | None, data: str | None) -> str:
    """The text of the card.

    Args:
        folder: with the model and its features.
        evaluation: what step `evaluate` found (metrics.json).
        data: what the data are and under which terms they may be used.

    Raises:
        ArtifactError: the model's card is missing or damaged.
    """
    card = read_json(folder / "model" / "config.json")
    catalogue = pq.read_table(folder / "catalogue.parquet", columns=["title", "active"])
    active = catalogue.filter(pc.field("active"))
    sequences = pq.read_metadata(folder / "sequences.parquet").num_rows
    users = pq.read_metadata(folder / "user_ids.parquet").num_rows
    encoder = dict(card["encoder"])
    kind, sizes = encoder.pop("kind"), ", ".join(f"{name} {value}" for name, value in sorted(encoder.items()))
    facts = {
        "Trained on": f"{sequences:,} interactions of {users:,} users with {len(active):,} items",
        "Encoder": f"{kind}{f' ({sizes})' if sizes else ''}",
        "Stage-1 recipe": card["recipe"],
        "Soft tokens per item": card["soft_tokens"] if not card["item_name_tokens"] else "none: items by their titles",
        "Items of a history shown": card["max_history"],
        "Language model": f"`{card['language_model']}`, SHA-256 `{card['language_model_sha256']}`",
        "CF space": f"`{card['space_id']}`",
    }
    return _CARD.format(
        rows="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        data=data or "Your own; say here under which terms they may be used.",
        histories=HAS_HISTORIES,
        evaluation=evaluation_sections(evaluation) if evaluation else "## Metrics\n\nNone recorded.",
        examples=active["title"].slice(0, 2).to_pylist(),
    )
