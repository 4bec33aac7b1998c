"""Recommendations for all users, against the language model's forward over the same batches alone."""

import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.serve import untrained_bundle
from benchmarks.timing import Result, interleaved
from ilm.serve.batch import BATCH, AllUsers, by_length, recommend_all
from ilm.serve.bundle import SEQUENCES, seal
from ilm.serve.item_language_model import ItemLanguageModel


def run(
    llm: str = "smollm2-135m-instruct",
    items: int = 3500,
    users: int = 256,
    history: int = 20,
    k: int = 50,
    repetitions: int = 5,
) -> Result:
    """Everything from users to the file / forward of ready inputs; histories of 3 to `history` items."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = untrained_bundle(Path(scratch), llm, items, users, history)
        _cut_histories(bundle, history)
        detail = compare(ItemLanguageModel.from_pretrained(bundle), Path(scratch), k, repetitions)
    seconds = detail["seconds"]
    detail |= {"llm": llm, "items": items, "history": f"3 to {history}", "threads": torch.get_num_threads()}
    return {"name": "recommend", "ratio": seconds["all"] / seconds["forward"], "goal": "<= 1.1", "detail": detail}


def compare(model: ItemLanguageModel, scratch: Path, k: int, repetitions: int) -> dict[str, Any]:
    """Seconds of both, users per second, and what sorting by length saves of the tokens that the model reads."""
    users, runs = sorted(model.questions.users()), count()
    batches = by_length(model, users)
    inputs = [_inputs(model, batch) for batch in batches]
    as_they_come = [users[start : start + BATCH] for start in range(0, len(users), BATCH)]
    unsorted_tokens = sum(_inputs(model, batch)[1].numel() for batch in as_they_come)

    @torch.no_grad()
    def forward() -> None:
        for embeddings, mask in inputs:
            model._ranker.model.language_model.hidden_states(embeddings, mask)

    def everything() -> None:
        for _ in recommend_all(AllUsers(model, "benchmark", scratch / f"{next(runs)}.parquet", k)):
            pass

    seconds = interleaved({"all": everything, "forward": forward}, repetitions)
    tokens = sum(mask.numel() for _, mask in inputs)
    return {
        "seconds": seconds, "users": len(users), "k": k, "users_per_second": len(users) / seconds["all"],
        "tokens": tokens, "tokens_unsorted": unsorted_tokens,
    }  # fmt: skip


def _inputs(model: ItemLanguageModel, users: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    questions = [model.questions.recommendation(user=user) for user in users]
    return model._ranker.prompts([example for question in questions for example in question.examples])


def _cut_histories(bundle: Path, longest: int) -> None:
    """Give each user 3 to `longest` of the items."""
    table = pq.read_table(bundle / SEQUENCES)
    position = np.arange(len(table)) % longest
    lengths = np.random.default_rng(2).integers(3, longest + 1, len(table) // longest)
    keep = position < np.repeat(lengths, longest)
    pq.write_table(table.filter(pa.array(keep)), bundle / SEQUENCES)
    seal(bundle)
