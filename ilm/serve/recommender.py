"""Recommendations for a known user or for a history of titles, from a bundle."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ilm.errors import ArtifactError, LookupFailed
from ilm.rank.head import HeadRecommender, load_recommender
from ilm.serve import bundle


@dataclass(frozen=True)
class Recommendation:
    """One recommended item; `score` is the retrieval head's logit, comparable within one list."""

    item_id: str
    title: str
    score: float


class RecommenderService:
    """Answers for users of the log and for anybody who names what they liked."""

    def __init__(
        self,
        ranker: HeadRecommender,
        item_ids: list[str],
        titles: list[str],
        active: NDArray[np.bool_],
        histories: dict[str, NDArray[np.int32]],
    ) -> None:
        self._ranker = ranker
        self._item_ids, self._titles, self._active, self._histories = item_ids, titles, active, histories
        self._by_id = {item_id: index for index, item_id in enumerate(item_ids)}
        self._by_title: dict[str, list[int]] = {}
        for index, title in enumerate(titles):
            if active[index]:
                self._by_title.setdefault(title.casefold(), []).append(index)

    @classmethod
    def load(cls, folder: Path) -> "RecommenderService":
        """Load a bundle.

        Raises:
            ArtifactError: a file is missing or damaged, files do not belong together, or the language model is not
                the one that the bundle was trained with.
        """
        catalogue = _read(folder / bundle.CATALOGUE, ["item_id", "title", "active"])
        users = _read(folder / bundle.USERS, ["user_index", "user_id"])
        sequences = _read(folder / bundle.SEQUENCES, ["user_index", "item_index"])
        ranker = load_recommender(folder / bundle.MODEL, folder / bundle.FACTORS, batch_size=32)
        if ranker.card.items != len(catalogue):
            raise ArtifactError(
                f"{folder}: the model knows {ranker.card.items:,} items, its catalogue {len(catalogue):,}."
            )
        user_ids = dict(zip(users["user_index"].to_pylist(), users["user_id"].to_pylist(), strict=True))
        indexes, starts = np.unique(sequences["user_index"].to_numpy(), return_index=True)
        parts = np.split(sequences["item_index"].to_numpy().astype(np.int32), starts[1:])
        histories = {user_ids[index]: part for index, part in zip(indexes.tolist(), parts, strict=True)}
        active = np.array(catalogue["active"].to_pylist(), dtype=np.bool_)
        return cls(ranker, catalogue["item_id"].to_pylist(), catalogue["title"].to_pylist(), active, histories)

    @property
    def space_id(self) -> str:
        """The CF space that the bundle lives in."""
        return self._ranker.card.space_id

    def recommend(
        self,
        *,
        user_id: str | None = None,
        history: Sequence[str] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
    ) -> list[Recommendation]:
        """The k best items for a user of the log, or for a history of titles or item ids (oldest first).

        Raises:
            LookupFailed: neither or both of `user_id` and `history` are given, the user is unknown, a title matches
                nothing or several items, or k is below 1.
        """
        if (user_id is None) == (not history):
            raise LookupFailed("give either a user id or a history of titles, and not both.")
        if k < 1:
            raise LookupFailed(f"k is {k}; ask for at least 1 item.")
        seen = self._user_history(user_id) if user_id is not None else self._titles_history(history or [])
        scores = self._ranker.score("sequential", [seen])[0]
        scores[~self._active] = -np.inf
        if exclude_seen:
            scores[seen] = -np.inf
        best = np.argsort(-scores, kind="stable")[:k]
        return [
            Recommendation(self._item_ids[index], self._titles[index], float(scores[index]))
            for index in best.tolist()
            if np.isfinite(scores[index])
        ]

    def _user_history(self, user_id: str) -> NDArray[np.int32]:
        if user_id not in self._histories:
            known = difflib.get_close_matches(user_id, self._histories, n=3, cutoff=0.0) or sorted(self._histories)[:3]
            raise LookupFailed(
                f"user '{user_id}' is not among the {len(self._histories):,} users of this model "
                f"(near: {', '.join(known)}). Use one of them, or name titles with --history."
            )
        return self._histories[user_id]

    def _titles_history(self, history: Sequence[str]) -> NDArray[np.int32]:
        return np.array([self._find(wanted) for wanted in history], dtype=np.int32)

    def _find(self, wanted: str) -> int:
        """The item of a title (any case) or, failing that, of an item id."""
        matches = self._by_title.get(wanted.strip().casefold(), [])
        if len(matches) > 1:
            ids = ", ".join(self._item_ids[index] for index in matches)
            raise LookupFailed(f"'{wanted}' is the title of {len(matches)} items. Name one of their ids: {ids}.")
        if matches:
            return matches[0]
        if wanted in self._by_id:
            return self._by_id[wanted]
        folded = wanted.strip().casefold()
        near = [title for title in self._by_title if folded and folded in title][:3]
        near = near or difflib.get_close_matches(folded, self._by_title, n=3, cutoff=0.5)
        hint = (
            f"Did you mean {' or '.join(repr(self._titles[self._by_title[title][0]]) for title in near)}?"
            if near
            else ""
        )
        raise LookupFailed(f"no item has the title or id '{wanted}'. {hint or 'Titles include the year: Heat (1995).'}")


def _read(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise ArtifactError(
            f"{path}: not readable ({error}). Restore the bundle, or register the model again."
        ) from None
