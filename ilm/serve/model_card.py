"""The model card: README.md of a model's folder, written from what the folder holds. Equal models give equal cards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ilm.files import read_json
from ilm.serve.evaluation_card import evaluation_sections

HAS_HISTORIES = "The folder holds the histories of the users it was trained on: hand it on only where these may go."
LICENCES = {
    "smollm2-135m-instruct": (
        "[SmolLM2-135M-Instruct](https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct), Hugging Face, "
        "Apache License 2.0; here as its GGUF file of four bits gives it, written as bfloat16"
    )
}
_CARD = """\
---
library_name: item-language-model
license: other
tags: [recommendation, item-language-model]
---
# Item-Language Model

A recommender whose language model is frozen and reads items and users as soft tokens
([arXiv 2406.02844](https://arxiv.org/abs/2406.02844)).

| | |
|---|---|
{rows}

## Intended use

To recommend items of this catalogue, to the users of its log or to anybody who names what they liked; to talk about
these items; to study how a language model uses an interaction log. Not as a source of facts about items, and not for
decisions about people: whom it serves less well is under Slices.

## Data and licences

{data} {histories}

The language model: {licence}. The code that reads the folder: Apache License 2.0.

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
    from ilm.model.language_model import ITEM_TOKEN, USER_TOKEN

    card = read_json(folder / "model" / "config.json")
    catalogue = pq.read_table(folder / "catalogue.parquet", columns=["title", "active"])
    active = catalogue.filter(pc.field("active"))
    sequences = pq.read_metadata(folder / "sequences.parquet").num_rows
    users = pq.read_metadata(folder / "user_ids.parquet").num_rows
    placeholders = " and ".join(f"`{token}`".replace("|", "\\|") for token in (ITEM_TOKEN, USER_TOKEN))  # in a table
    language_model = Path(card["language_model"]).name  # of a folder its name, not where it lies here
    encoder = dict(card["encoder"])
    kind, sizes = encoder.pop("kind"), ", ".join(f"{name} {value}" for name, value in sorted(encoder.items()))
    facts = {
        "Trained on": f"{sequences:,} interactions of {users:,} users with {len(active):,} items",
        "Encoder": f"{kind}{f' ({sizes})' if sizes else ''}",
        "Stage-1 recipe": card["recipe"],
        "Soft tokens per item": card["soft_tokens"] if not card["item_name_tokens"] else "none: items by their titles",
        "Items of a history shown": card["max_history"],
        "Language model": f"`{language_model}`, SHA-256 `{card['language_model_sha256']}`",
        "Placeholders": f"{placeholders}: put behind the tokenizer's own tokens when it is loaded",
        "CF space": f"`{card['space_id']}`",
    }
    return _CARD.format(
        rows="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        data=data or "Your own; say here under which terms they may be used.",
        histories=HAS_HISTORIES,
        licence=LICENCES.get(language_model, f"`{language_model}`, under its own licence; name it here"),
        evaluation=evaluation_sections(evaluation) if evaluation else "## Metrics\n\nNone recorded.",
        examples=active["title"].slice(0, 2).to_pylist(),
    )
