"""Steps of stage 1, against the same steps written the plain way; both come to the same losses.

Plain: texts are tokenised in the step, queries are computed once for contrast and again for generation (BLIP-2's
passes without its reuse of keys and values), and each side of an item-item pair is encoded by itself.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.timing import Result, interleaved
from benchmarks.trie_beams import made_up_titles
from ilm.model.builtin import resolve
from ilm.model.encoders import start_encoder
from ilm.model.pretraining import PretrainingModel, TextBatch
from ilm.model.qformer import QFormer
from ilm.model.shards import Shard
from ilm.model.text_encoder import load_tokenizer
from ilm.params import ModelParams, PretrainParams
from ilm.train.loop import Losses, Schedule, optimizer_for, train
from ilm.train.stage1 import START_PIECE, Stage1, Stage1Data

CF_WIDTH = 64
_GENRES = ("Action", "Comedy", "Crime", "Drama", "Fantasy", "Horror", "Musical", "Romance", "Thriller", "Western")


def run(
    text_encoder: str = "all-minilm-l6-v2",
    items: int = 3500,
    batch_size: int = 64,
    paired_rows: int = 16,
    pairs: int = 128,
    repetitions: int = 9,
) -> Result:
    """Items per second of ours / of the plain steps, over an item-text and an item-item step with all that the training
    loop does; `detail` has each kind of step by itself."""
    ours, plain = stages(text_encoder, items, batch_size, paired_rows, pairs)
    kinds = {"item_text": 0, "item_item": 1}
    seconds = interleaved(
        {f"{name} {kind}": _step(stage, step) for kind, step in kinds.items() for name, stage in _named(ours, plain)},
        repetitions,
    )
    per_second = {
        name: (batch_size + 2 * pairs) / sum(seconds[f"{name} {kind}"] for kind in kinds) for name in ("ours", "plain")
    }
    detail = {
        "items_per_second": per_second, "seconds": seconds, "text_encoder": text_encoder, "items": items,
        "ratios": {kind: seconds[f"plain {kind}"] / seconds[f"ours {kind}"] for kind in kinds},
        "batch_size": batch_size, "paired_rows": paired_rows, "pairs": pairs, "threads": torch.get_num_threads(),
    }  # fmt: skip
    return {"name": "stage1_step", "ratio": per_second["ours"] / per_second["plain"], "goal": ">= 1", "detail": detail}


class PlainModel(PretrainingModel):
    """Every loss with a pass of its own."""

    def _query_and_generation_pass(self, cf_tokens: Tensor, text: TextBatch, paired: int) -> tuple[Tensor, Tensor]:
        _, generated = super()._query_and_generation_pass(cf_tokens[:paired], text, paired)
        return self.qformer(cf_tokens), generated

    def _query_means(self, left: Tensor, right: Tensor, users: bool) -> tuple[Tensor, Tensor]:
        left_mean, right_mean = (
            self.query_projection(self.qformer.encode(side, user)).mean(dim=1)
            for side, user in ((left, users), (right, False))
        )
        return left_mean, right_mean


class PlainStage(Stage1):
    """Texts become tokens when they are needed."""

    tokenise: Callable[[list[str]], TextBatch]

    def _item_text(self, rows: NDArray[np.int64], paired: int, generator: torch.Generator, shard: Shard) -> Losses:
        items = torch.from_numpy(self.data.text_items[rows]).long()
        text = self.tokenise([self.data.texts[row] for row in rows])
        return self.model.item_text_losses(items, self.item_factors[items], text, paired, generator, shard)


def stages(text_encoder: str, items: int, batch_size: int, paired_rows: int, pairs: int) -> tuple[Stage1, Stage1]:
    """Ours and the plain stage 1, with equal weights, on the same made-up catalogue."""
    torch.manual_seed(0)
    data = made_up(items)
    params = PretrainParams(batch_size=batch_size, paired_rows=paired_rows, interaction_batch_size=pairs)
    tokenizer = load_tokenizer(resolve(text_encoder))

    def tokenise(texts: list[str]) -> TextBatch:
        encoded = tokenizer(
            texts, padding=True, truncation=True, max_length=params.max_text_tokens, return_tensors="pt"
        )
        return TextBatch(encoded["input_ids"], encoded["attention_mask"].bool())

    factors = torch.from_numpy(data.item_factors), torch.from_numpy(data.user_factors)
    qformer = start_encoder(ModelParams(text_encoder=text_encoder), *factors)
    assert isinstance(qformer, QFormer)
    texts = tokenise(data.texts)
    pieces, start = texts.token_ids[texts.mask].unique(), tokenizer.get_vocab()[START_PIECE]
    models = PretrainingModel(qformer, pieces, start), PlainModel(qformer, pieces, start)
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    plain = PlainStage(models[1], data, texts, params)
    plain.tokenise = tokenise
    return Stage1(models[0], data, texts, params), plain


def made_up(items: int) -> Stage1Data:
    """Two texts per item, as MovieLens has: a title, and a title with genres; item-item pairs of any item with one of
    a long tail: 128 pairs have 242 different items in MovieLens."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(items, CF_WIDTH)).astype(np.float32)
    texts = []
    for title in made_up_titles(items):
        genres = ", ".join(rng.choice(_GENRES, rng.integers(1, 4), replace=False))
        texts += [title, f"{title}. Genres: {genres}."]
    weights = 1.0 / (np.arange(items) + 30.0)
    neighbours = rng.choice(items, (items, 10), p=weights / weights.sum())
    pairs = np.stack([np.repeat(np.arange(items), 10), neighbours.ravel()], axis=1).astype(np.int32)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return Stage1Data(vectors, vectors[:1], np.repeat(np.arange(items, dtype=np.int32), 2), texts, pairs, pairs[:0])


def _named(ours: Stage1, plain: Stage1) -> list[tuple[str, Stage1]]:
    return [("ours", ours), ("plain", plain)]


def _step(stage: Stage1, number: int) -> Callable[[], object]:
    """A step of the training loop with the losses of step `number`."""
    optimizer = optimizer_for([(stage.model, stage.params.learning_rate)])
    schedule = Schedule(1, stage.params.warmup, checkpoint_every=2)
    return lambda: train("step", stage.model, optimizer, lambda _, micro: stage.losses(number, micro), schedule)
