"""`ItemLanguageModel`: what a trained model can do, for notebooks, the command line and the registry alike."""

import difflib
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ilm.cf import factors as cf_factors
from ilm.errors import ArtifactError, LookupFailed
from ilm.files import read_json, replaced, write_json, write_text
from ilm.model.storage import HISTORY, load_bridge, save_bridge
from ilm.prompts.attributes import attributes
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.conversation import reply_text
from ilm.rank.conversation import answer, best_items
from ilm.rank.head import HeadRecommender
from ilm.serve import bundle

_COLUMNS = {
    bundle.CATALOGUE: ("item_index", "item_id", "title", "active"),
    bundle.USERS: ("user_index", "user_id"),
    bundle.SEQUENCES: ("user_index", "item_index"),
}


@dataclass(frozen=True)
class Recommendation:
    """One recommended item; `score` is the retrieval head's logit, comparable within one list."""

    item_id: str
    title: str
    score: float
    cold: bool = False
    """Nobody had met it when the model was made: its vector is a guess from its words (`with_items`)."""


@dataclass(frozen=True)
class Reply:
    """An answer in a conversation, and the items that its text names, best first."""

    text: str
    items: list[Recommendation]


class ItemLanguageModel:
    """A trained Item-Language Model with its catalogue and its users.

    It ranks for users of the log and for anybody who names what they liked, talks, and gives the soft tokens of items.
    Items are named by title (any case) or id. Shapes: n items, s soft tokens per item, w width of the language model,
    d width of a CF vector.
    """

    def __init__(
        self, ranker: HeadRecommender, factors: cf_factors.Factors, tables: Mapping[str, pa.Table], folder: Path
    ) -> None:
        """Use `from_pretrained`.

        Args:
            ranker: the model, ready to rank.
            factors: its CF vectors.
            tables: catalogue, users and sequences by file name.
            folder: where they come from.

        Raises:
            ArtifactError: they do not belong together.
        """
        catalogue, users, sequences = (tables[name] for name in _COLUMNS)
        if ranker.card.items != len(catalogue):
            raise ArtifactError(
                f"{folder}: the model knows {ranker.card.items:,} items, its catalogue {len(catalogue):,}."
            )
        self._ranker, self._factors, self._tables, self._folder = ranker, factors, dict(tables), folder
        self._card_text = (folder / bundle.CARD).read_text(encoding="utf-8")
        self._training = read_json(folder / bundle.MODEL / HISTORY)
        split = folder / bundle.SPLIT
        self._split = read_json(split) if split.exists() else None
        self._guessed: frozenset[int] = frozenset()
        self._attributes = attributes(catalogue)
        known = self._attributes
        self._catalogue = Catalogue(catalogue["item_id"].to_pylist(), known.titles, known.active)
        user_ids = dict(zip(users["user_index"].to_pylist(), users["user_id"].to_pylist(), strict=True))
        indexes, starts = np.unique(sequences["user_index"].to_numpy(), return_index=True)
        parts = np.split(sequences["item_index"].to_numpy().astype(np.int32), starts[1:])
        self._histories = {user_ids[index]: part for index, part in zip(indexes.tolist(), parts, strict=True)}

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "ItemLanguageModel":
        """Load a model from the folder that `save_pretrained` or the registry wrote; the language model is found by
        its name.

        Raises:
            ArtifactError: a file is missing, changed or one too many; files do not belong together; or the language
                model is not the one that was trained with.
        """
        folder = Path(path)
        bundle.verify(folder)
        tables = {name: _read(folder / name, columns) for name, columns in _COLUMNS.items()}
        model, card = load_bridge(folder / bundle.MODEL)
        factors = cf_factors.load(folder / bundle.FACTORS)
        return cls(HeadRecommender(model, card, factors), factors, tables, folder)

    def save_pretrained(self, path: str | Path) -> None:
        """Write the model into a new folder: safetensors, Parquet, JSON and a model card; equal models, equal bytes.

        Raises:
            ArtifactError: there is something in the folder already.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ArtifactError(f"{path}: is there already. Name a new folder, or remove this one.")
        with replaced(path) as folder:
            folder.mkdir()
            save_bridge(folder / bundle.MODEL, self._ranker.model, self._ranker.card, self._training)
            cf_factors.save(folder / bundle.FACTORS, self._factors)
            for name, table in self._tables.items():
                pq.write_table(table, folder / name)
            if self._split is not None:
                write_json(folder / bundle.SPLIT, self._split)
            write_text(folder / bundle.CARD, self._card_text)
            bundle.seal(folder)

    def with_items(self, items: Sequence[Mapping[str, str]]) -> "ItemLanguageModel":
        """The same model with items that nobody has met yet, for the time until the next training.

        Their CF vectors are guessed from their words, by a map that is learned from the items of the catalogue in a
        few seconds (`ilm.cf.cold_items`); recommendations of them are marked `cold`.

        Args:
            items: of each `item_id`, `title`, and the catalogue's other columns as far as they are known.

        Raises:
            LookupFailed: an item has no id or title, or an id is there already.
            ArtifactError: items stand in this model's prompts by their titles, of which it keeps a fixed number.
        """
        from ilm.cf.cold_items import TextMap

        ids = [item.get("item_id", "") for item in items]
        wrong = [name for name in ids if not name or name in set(self._catalogue.item_ids) or ids.count(name) > 1]
        if wrong or not all(item.get("title") for item in items):
            raise LookupFailed(
                f"each new item needs a title and an id of its own. Wrong: {', '.join(wrong) or 'titles'}."
            )
        if self._ranker.card.item_name_tokens:
            raise ArtifactError(
                f"{self._folder}: its items stand in prompts by their titles; train it with the new ones."
            )
        catalogue = self._tables[bundle.CATALOGUE]
        grown = pa.concat_tables([catalogue, _rows(items, len(catalogue), catalogue.schema)])
        words = [name for name in catalogue.column_names if name not in ("item_index", "item_id", "active")]
        texts = [" ".join(str(value) for value in row.values() if value) for row in grown.select(words).to_pylist()]
        known = self._factors.item_factors
        vectors = np.concatenate([known, TextMap(texts[: len(known)], known)(texts[len(known) :])])
        bridge = copy(self._ranker.model)
        bridge._modules = bridge._modules | {"head": deepcopy(bridge.head)}  # the head alone has rows per item
        bridge.head.grow(len(items))
        factors = replace(self._factors, item_factors=vectors)
        card = replace(self._ranker.card, items=len(grown))
        ranker = HeadRecommender(bridge, card, factors, self._ranker.batch_size)
        other = ItemLanguageModel(ranker, factors, self._tables | {bundle.CATALOGUE: grown}, self._folder)
        other._guessed = self._guessed | frozenset(range(len(catalogue), len(grown)))
        return other

    @property
    def space_id(self) -> str:
        """The CF space that the model lives in."""
        return self._ranker.card.space_id

    @torch.no_grad()
    def encode_items(self, items: Sequence[str] | ArrayLike) -> Tensor:
        """Soft tokens [n, s, w]: what the language model reads in an item's place.

        Args:
            items: titles or ids; or CF vectors [n, d] of this model's space, for items that the model does not know.

        Raises:
            LookupFailed: an item is unknown, or the vectors are not [n, d].
        """
        if isinstance(items, str):
            raise LookupFailed(f"give a list of titles or ids: ['{items}'].")
        known = self._factors.item_factors
        if isinstance(items, Sequence) and all(isinstance(item, str) for item in items):
            vectors = known[self._indexes([str(item) for item in items])]
        else:
            vectors = np.asarray(items, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != known.shape[1]:
            raise LookupFailed(f"CF vectors must be [n, {known.shape[1]}]; these are {list(vectors.shape)}.")
        model = self._ranker.model
        soft: Tensor = model.adapter(model.encode_all(torch.from_numpy(vectors)))
        return soft

    def rank(
        self,
        *,
        user: str | None = None,
        history: Sequence[str] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
    ) -> list[Recommendation]:
        """The k best items of the whole catalogue, best first; fewer where there are no more.

        Args:
            user: id of a user of the log; or
            history: what somebody liked, oldest first: titles or ids.
            k: how many.
            exclude_seen: leave out the items of the history.

        Raises:
            LookupFailed: neither or both of `user` and `history` are given, the user is unknown, a title matches
                nothing or several items, or k is below 1.
        """
        if (user is None) == (not history):
            raise LookupFailed("give either a user id or a history of titles, and not both.")
        seen = self._seen(user, history)
        scores = self._ranker.score("sequential", [seen])[0]
        best = best_items(scores, self._catalogue.active, seen if exclude_seen else seen[:0], k)
        return self._recommended(scores, best)

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        user: str | None = None,
        history: Sequence[str] | None = None,
        k: int = 3,
    ) -> Reply:
        """Answer the last message with k items that were neither seen nor named before.

        Items that a message names by title (`Catalogue.mentions`) get their soft tokens beside the title; user and
        history stand as soft tokens before the first message. The retrieval head reads the language model's state at
        the end of the conversation and chooses among the whole catalogue. The words of the reply are the catalogue's
        own: every item it names is in `items`, and what it says of them is in the data. Wishes are understood as far
        as the model has learned to; nothing filters the items by them.

        Args:
            messages: {"role": "user" or "assistant", "content": words}, in turn, the user's first and last.
            user: id of a user of the log; or
            history: what somebody liked, oldest first: titles or ids; or neither.
            k: how many items.

        Raises:
            LookupFailed: as `rank`; or the messages are not as they should be.
        """
        if user is not None and history:
            raise LookupFailed("give a user id or a history of titles, not both.")
        seen = self._seen(user, history)
        (found,) = answer(self._ranker, self._catalogue, [messages], [seen], k)
        return Reply(reply_text(self._attributes, found.items), self._recommended(found.scores, found.items))

    def _recommended(self, scores: NDArray[np.float32], items: Sequence[int]) -> list[Recommendation]:
        ids, titles = self._catalogue.item_ids, self._catalogue.titles
        return [Recommendation(ids[item], titles[item], float(scores[item]), item in self._guessed) for item in items]

    def _seen(self, user: str | None, history: Sequence[str] | None) -> NDArray[np.int32]:
        """The history of a user of the log, or the items of the titles, or nothing."""
        if user is None:
            return np.array(self._indexes(history or []), dtype=np.int32)
        if user not in self._histories:
            known = difflib.get_close_matches(user, self._histories, n=3, cutoff=0.0) or sorted(self._histories)[:3]
            raise LookupFailed(
                f"user '{user}' is not among the {len(self._histories):,} users of this model "
                f"(near: {', '.join(known)}). Use one of them, or name titles with --history."
            )
        return self._histories[user]

    def _indexes(self, items: Sequence[str]) -> list[int]:
        return [self._catalogue.find(item) for item in items]


def _rows(items: Sequence[Mapping[str, str]], first: int, schema: pa.Schema) -> pa.Table:
    """New active items as rows of the catalogue, numbered from `first`."""
    given = {"item_index": range(first, first + len(items)), "active": [True] * len(items)}
    columns = {name: given.get(name, [item.get(name) for item in items]) for name in schema.names}
    return pa.table({name: pa.array(list(values), schema.field(name).type) for name, values in columns.items()}, schema)


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    """A whole table that has at least these columns."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ArtifactError(f"{path}: not readable ({error}). Restore the folder, or save the model again.") from None
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise ArtifactError(f"{path}: has no column {', '.join(missing)}. Restore the folder, or save the model again.")
    return table
