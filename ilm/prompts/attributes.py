"""What a catalogue says about its items: title, year, short lists such as genres, long texts. Any catalogue will do;
what it does not say is not asked for.

* year: the column `year`, else four digits in brackets at the end of the title: `Heat (1995)`.
* a column whose texts have at most `SHORT_WORDS` words on average is a list: `Action, Crime` or `Action|Crime`.
* any other column is a long text.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ilm.errors import ArtifactError

SHORT_WORDS = 20
"""As in `ilm.data.item_text`."""
COMMON_ITEMS = 10
"""A value that so many items share is worth a wish: `I want Comedy`."""

_YEAR_IN_TITLE = re.compile(r"\((\d{4})\)\s*$")
_NOT_TEXT = ("item_index", "item_id", "title", "active", "year")


@dataclass(frozen=True)
class Attributes:
    """By item index.

    `active`: may be recommended and spoken of. `years`: 0 where unknown. `lists`: column -> values of every item, ()
    where unknown. `texts`: the long texts of every item. `common`: column -> values that many items share.
    """

    titles: list[str]
    active: NDArray[np.bool_]
    years: NDArray[np.int32]
    lists: dict[str, list[tuple[str, ...]]]
    texts: list[tuple[str, ...]]
    common: dict[str, frozenset[str]]

    def name(self, item: int) -> str:
        """The item's title as a sentence: with a full stop unless it has an end of its own."""
        return sentence(self.titles[item])

    def shared(self, column: str, item: int, other: int) -> list[str]:
        """Values that both items have in a column, in the first one's order."""
        return [value for value in self.lists[column][item] if value in self.lists[column][other]]

    def wishes(self, item: int) -> list[str]:
        """The item's values that many items share, over all columns."""
        return [
            value for column, values in self.lists.items() for value in values[item] if value in self.common[column]
        ]


def read_attributes(path: Path) -> Attributes:
    """The attributes of a catalogue (Parquet; item_index 0, 1, … in order, title, active, any text columns).

    Raises:
        ArtifactError: not readable, or not a catalogue.
    """
    try:
        table = pq.read_table(path)
        return attributes(table)
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise ArtifactError(f"{path}: not a readable catalogue ({error}). Run the split step again.") from None


def attributes(catalogue: pa.Table) -> Attributes:
    """As `read_attributes`, from a table.

    Raises:
        KeyError: a column is missing.
        ValueError: item_index is not 0, 1, … in order.
    """
    if not np.array_equal(catalogue["item_index"].to_numpy(), np.arange(len(catalogue))):
        raise ValueError(f"item_index is not 0..{len(catalogue) - 1} in order")
    titles = catalogue["title"].to_pylist()
    columns = {
        name: [" ".join((text or "").split()) for text in catalogue[name].to_pylist()]
        for name in catalogue.column_names
        if name not in _NOT_TEXT
    }
    long = [name for name, texts in columns.items() if _mean_words(texts) > SHORT_WORDS]
    lists = {_label(name): _split(texts) for name, texts in columns.items() if name not in long and any(texts)}
    active = np.array(catalogue["active"].to_pylist(), bool)
    return Attributes(
        titles,
        active,
        _years(titles, catalogue["year"].to_pylist() if "year" in catalogue.column_names else [None] * len(titles)),
        lists,
        [tuple(text for text in texts if text) for texts in zip(*(columns[name] for name in long), strict=True)]
        if long
        else [()] * len(titles),
        {label: _common(values, active) for label, values in lists.items()},
    )


def sentence(text: str) -> str:
    """The text with a full stop, unless it has an end of its own."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def listed(values: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)


def _years(titles: list[str], column: list[str | int | None]) -> NDArray[np.int32]:
    in_title = [match and match[1] for match in map(_YEAR_IN_TITLE.search, titles)]
    years = [str(year or found or "") for year, found in zip(column, in_title, strict=True)]
    return np.array([int(year) if re.fullmatch(r"\d{4}", year) else 0 for year in years], np.int32)


def _split(texts: list[str]) -> list[tuple[str, ...]]:
    mark = "|" if any("|" in text for text in texts) else ","
    parts = [[value.strip() for value in text.split(mark)] for text in texts]
    return [tuple(dict.fromkeys(value for value in values if value)) for values in parts]


def _common(lists: list[tuple[str, ...]], active: NDArray[np.bool_]) -> frozenset[str]:
    counts = Counter(value for values, present in zip(lists, active, strict=True) if present for value in values)
    return frozenset(value for value, count in counts.items() if count >= COMMON_ITEMS)


def _label(column: str) -> str:
    return " ".join(column.replace("_", " ").split()).lower()


def _mean_words(texts: list[str]) -> float:
    counts = [len(text.split()) for text in texts if text]
    return sum(counts) / max(1, len(counts))
