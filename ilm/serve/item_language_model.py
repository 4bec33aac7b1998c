"""`ItemLanguageModel`: what a trained model can do, for notebooks, the command line and the registry alike."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ilm.cf import factors as cf_factors
from ilm.errors import ArtifactError, LookupFailed
from ilm.files import read_json, replaced, write_json, write_text
from ilm.model.storage import HISTORY, load_bridge, save_bridge
from ilm.prompts.conversation import Messages
from ilm.rank.head import HeadRecommender
from ilm.serve import bundle
from ilm.serve.explanation import Explanation
from ilm.serve.question import Answered, Question, Recommendation, Reply
from ilm.serve.questions import Histories, Questions, read_histories


class ItemLanguageModel:
    """A trained Item-Language Model with its catalogue and its users.

    It ranks for users of the log and for anybody who names what they liked, talks, and gives the soft tokens of items.
    Items are named by title (any case) or id. Shapes: n items, s soft tokens per item, w width of the language model,
    d width of a CF vector.
    """

    def __init__(
        self,
        ranker: HeadRecommender,
        factors: cf_factors.Factors,
        catalogue: pa.Table,
        histories: Histories,
        folder: Path,
        cold: frozenset[int] = frozenset(),
    ) -> None:
        """Use `from_pretrained`.

        Args:
            ranker: the model, ready to rank.
            factors: its CF vectors.
            catalogue: its items.
            histories: item indexes of its users, oldest first.
            folder: where they come from; it stays.
            cold: indexes of items that nobody had met when the model was made.

        Raises:
            ArtifactError: they do not belong together.
        """
        if ranker.card.items != len(catalogue):
            raise ArtifactError(
                f"{folder}: the model knows {ranker.card.items:,} items, its catalogue {len(catalogue):,}."
            )
        self._ranker, self._factors, self._catalogue, self._folder = ranker, factors, catalogue, folder
        self._histories = histories
        self._card_text = (folder / bundle.CARD).read_text(encoding="utf-8")
        self._training = read_json(folder / bundle.MODEL / HISTORY)
        split = folder / bundle.SPLIT
        self._split = read_json(split) if split.exists() else None
        self.questions = Questions(ranker, catalogue, histories, factors.item_factors, cold)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, language_model: str | Path | None = None, device: str | torch.device = "cpu"
    ) -> "ItemLanguageModel":
        """Load a model from the folder that `save_pretrained`, `ilm export` or the registry wrote.

        Args:
            path: the folder.
            language_model: a built-in name or a folder with the frozen language model; None: the folder has it, or it
                is found by the name that it was trained under.
            device: where it computes.

        Raises:
            ArtifactError: a file is missing, changed or one too many; files do not belong together; or the language
                model is not the one that was trained with.
        """
        folder = Path(path)
        bundle.verify(folder)
        catalogue = _read(folder / bundle.CATALOGUE, ["item_index", "item_id", "title", "active"], others=True)
        known = read_histories(
            _read(folder / bundle.USERS, ["user_index", "user_id"]),
            _read(folder / bundle.SEQUENCES, ["user_index", "item_index"]),
        )
        if language_model is None and (folder / bundle.LANGUAGE_MODEL).is_dir():
            language_model = folder / bundle.LANGUAGE_MODEL
        model, card = load_bridge(folder / bundle.MODEL, language_model=language_model)
        factors = cf_factors.load(folder / bundle.FACTORS)
        return cls(HeadRecommender(model.move(torch.device(device)), card, factors), factors, catalogue, known, folder)

    def save_pretrained(self, path: str | Path) -> None:
        """Write the model into a new folder: safetensors, Parquet, JSON and a model card; equal models, equal bytes.

        Raises:
            ArtifactError: there is something in the folder already, or the one that the model was loaded from is gone.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ArtifactError(f"{path}: is there already. Name a new folder, or remove this one.")
        with replaced(path) as folder:
            folder.mkdir()
            save_bridge(folder / bundle.MODEL, self._ranker.model, self._ranker.card, self._training)
            cf_factors.save(folder / bundle.FACTORS, self._factors)
            pq.write_table(self._catalogue, folder / bundle.CATALOGUE)
            for name in (bundle.USERS, bundle.SEQUENCES):  # as long as the log, and not held
                try:
                    shutil.copyfile(self._folder / name, folder / name)
                except OSError as error:
                    raise ArtifactError(f"{self._folder / name}: {error.strerror}. Load the model again.") from None
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
        from ilm.serve.new_items import grow

        ranker, factors, catalogue = grow(self._ranker, self._factors, self._catalogue, items)
        cold = self.questions.cold | frozenset(range(len(self._catalogue), len(catalogue)))
        return ItemLanguageModel(ranker, factors, catalogue, self._histories, self._folder, cold)

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
            vectors = known[self.questions.indexes([str(item) for item in items])]
        else:
            vectors = np.asarray(items, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != known.shape[1]:
            raise LookupFailed(f"CF vectors must be [n, {known.shape[1]}]; these are {list(vectors.shape)}.")
        model = self._ranker.model
        soft: Tensor = model.adapter(model.encode_all(torch.from_numpy(vectors).to(model.device)))
        return soft.cpu()

    def rank(
        self,
        *,
        user: str | None = None,
        history: Sequence[str] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
    ) -> list[Recommendation]:
        """The k best items of the whole catalogue, best first; fewer where there are no more.

        Args:
            user: id of a user of the log; or
            history: what somebody liked, oldest first: titles or ids.
            k: how many.
            exclude_seen: leave out the items of the history.
            exclude: titles or ids to leave out besides.
            where: what must hold of them, such as `{"genres": {"any": ["Comedy"], "none": ["War"]}, "year":
                {"from": 1990, "to": 1999}}` (`ilm.prompts.constraints.parse_constraints`).

        Raises:
            LookupFailed: neither or both of `user` and `history` are given, the user is unknown, a title matches
                nothing or several items, k is below 1, or nothing like `where` is in the catalogue.
        """
        question = self.questions.recommendation(
            user=user, history=history, k=k, exclude_seen=exclude_seen, exclude=exclude, where=where
        )
        return self.answer([question])[0].items

    def chat(
        self,
        messages: Messages,
        *,
        user: str | None = None,
        history: Sequence[str] | None = None,
        k: int = 3,
    ) -> Reply:
        """Answer the last message with k items that were neither seen nor named before.

        Items that a message names by title (`Catalogue.mentions`) get their soft tokens beside the title; user and
        history stand as soft tokens before the first message. The retrieval head reads the language model's state at
        the end of the conversation and chooses among the whole catalogue. What the user's messages demand in so many
        words holds of every item (`ilm.prompts.stated`); other wishes are understood as far as the model has learned
        to. "Why this one?" is answered with the items of the history that count. The words of the reply are the
        catalogue's own: every item it names is in `items`, and what it says of them is in the data.

        Args:
            messages: {"role": "user" or "assistant", "content": words}, in turn, the user's first and last.
            user: id of a user of the log; or
            history: what somebody liked, oldest first: titles or ids; or neither.
            k: how many items.

        Raises:
            LookupFailed: as `rank`; or the messages are not as they should be.
        """
        return self.answer([self.questions.conversation(messages, user=user, history=history, k=k)])[0]

    def explain(self, item: str, *, user: str | None = None, history: Sequence[str] | None = None) -> Explanation:
        """What speaks for an item: what each item of the history adds, and how alike the two are.

        Args:
            item: title or id.
            user: id of a user of the log; or
            history: what somebody liked, oldest first: titles or ids.

        Raises:
            LookupFailed: as `rank`.
        """
        return self.answer([self.questions.explanation(item, user=user, history=history)])[0]

    def answer(self, questions: Sequence[Question[Answered]]) -> list[Answered]:
        """Answer questions of any kind (`self.questions` makes them) by one pass through the language model.

        An answer does not depend on the other questions but for rounding, 1e-5 in scores.
        """
        if not questions:
            return []
        scores = self._ranker.score_examples([example for question in questions for example in question.examples])
        ends = np.cumsum([len(question.examples) for question in questions])
        parts = np.split(scores, ends[:-1])
        return [question.read(part) for question, part in zip(questions, parts, strict=True)]

    def item(self, wanted: str) -> dict[str, Any]:
        """What the catalogue says of an item, by title or id: `item_id`, `title`, `active`, `cold`, and its columns.

        Raises:
            LookupFailed: no item or several have the title.
        """
        return self.questions.item(wanted)

    def history(self, user: str) -> list[str]:
        """Item ids of what a user of the log chose, oldest first.

        Raises:
            LookupFailed: the user is unknown.
        """
        return self.questions.history(user)


def _read(path: Path, columns: Sequence[str], *, others: bool = False) -> pa.Table:
    """These columns of a table, and on demand all others."""
    try:
        missing = [name for name in columns if name not in pq.read_schema(path).names]
        table = None if missing else pq.read_table(path, columns=None if others else columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise ArtifactError(f"{path}: not readable ({error}). Restore the folder, or save the model again.") from None
    if table is None:
        raise ArtifactError(f"{path}: has no column {', '.join(missing)}. Restore the folder, or save the model again.")
    return table
