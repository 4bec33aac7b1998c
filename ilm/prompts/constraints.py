"""What must hold of recommended items: values that they have or have not, and years. Anything else is a wish, which
ranks and does not filter.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilm.errors import LookupFailed
from ilm.prompts.attributes import Attributes, listed

YEAR = "year"


@dataclass(frozen=True)
class Constraints:
    """What must hold. Values are spelled as in the catalogue.

    `wanted`: column -> values of which an item must have one. `refused`: column -> values of which it may have none.
    `first_year`, `last_year`: bounds that belong to it; an item whose year is not known is outside of every bound.
    """

    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    first_year: int | None = None
    last_year: int | None = None

    def allowed(self, known: Attributes) -> NDArray[np.bool_]:
        """Bool [n_items]: whether all of it holds of an item."""
        allowed = np.ones(len(known.titles), np.bool_)
        for column, values in self.wanted.items():
            allowed &= _has(known.lists[column], values)
        for column, values in self.refused.items():
            allowed &= ~_has(known.lists[column], values)
        if self.first_year is not None or self.last_year is not None:
            allowed &= known.years > 0
        if self.first_year is not None:
            allowed &= known.years >= self.first_year
        if self.last_year is not None:
            allowed &= known.years <= self.last_year
        return allowed

    def __str__(self) -> str:
        """`Comedy or Drama; not Animation; from 1990 to 1999`; nothing where nothing is demanded."""
        parts = [" or ".join(values) for values in self.wanted.values()]
        parts += [f"not {listed(values)}" for values in self.refused.values()]
        first, last = self.first_year, self.last_year
        if first is not None and last is not None:
            parts.append(f"from {first} to {last}" if first != last else f"from {first}")
        elif first is not None:
            parts.append(f"from {first} or later")
        elif last is not None:
            parts.append(f"from {last} or earlier")
        return "; ".join(parts)


def parse_constraints(given: Mapping[str, Any], known: Attributes) -> Constraints:
    """Constraints as a program says them: `{"genres": {"any": ["Comedy"], "none": ["War"]}, "year": {"from": 1990}}`.

    Columns and values count in any case. `any`, `none`, `from` and `to` may each be left out.

    Raises:
        LookupFailed: a column, a key or a value is not known; what is known is named.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    refused: dict[str, tuple[str, ...]] = {}
    years: dict[str, int] = {}
    by_name = {column.casefold(): column for column in known.lists}
    if len({name.casefold() for name in given}) < len(given):
        raise LookupFailed(f"the filters {', '.join(given)} name a column twice. Put what must hold of it into one.")
    for name, what in given.items():
        if not isinstance(what, Mapping):
            raise LookupFailed(f"filter '{name}' is {what!r}; it must be an object such as {{'any': ['value']}}.")
        if name.casefold() == YEAR:
            years = _years(what)
        elif name.casefold() in by_name:
            column = by_name[name.casefold()]
            _require_keys(name, what, ("any", "none"))
            wanted |= _spelled(column, what.get("any", ()), known)
            refused |= _spelled(column, what.get("none", ()), known)
        else:
            raise LookupFailed(f"no items have a '{name}' to filter by. There is: {', '.join([*known.lists, YEAR])}.")
    return Constraints(wanted, refused, years.get("from"), years.get("to"))


def _has(of_items: Sequence[tuple[str, ...]], values: Iterable[str]) -> NDArray[np.bool_]:
    looked_for = set(values)
    return np.fromiter((not looked_for.isdisjoint(of_item) for of_item in of_items), np.bool_, len(of_items))


def _years(what: Mapping[str, Any]) -> dict[str, int]:
    _require_keys(YEAR, what, ("from", "to"))
    years = {name: year for name, year in what.items() if year is not None}
    for name, year in years.items():
        if isinstance(year, bool) or not isinstance(year, int) or not 0 < year < 10_000:
            raise LookupFailed(f"filter 'year': '{name}' is {year!r}; it must be a whole number such as 1990.")
    return years


def _require_keys(name: str, what: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    unknown = [key for key in what if key not in keys]
    if unknown:
        raise LookupFailed(f"filter '{name}' has {unknown[0]!r}; it may have {' and '.join(keys)}.")


def _spelled(column: str, values: Any, known: Attributes) -> dict[str, tuple[str, ...]]:
    """The column's values as the catalogue spells them; nothing for no values."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise LookupFailed(f"filter '{column}': {values!r} must be a list of values.")
    spellings = {value.casefold(): value for of_item in known.lists[column] for value in of_item}
    found = []
    for value in values:
        folded = str(value).casefold()
        if folded not in spellings:
            near = difflib.get_close_matches(folded, spellings, n=3, cutoff=0.0) or sorted(spellings)[:3]
            raise LookupFailed(
                f"no item has '{value}' among its {column}. Near: {', '.join(spellings[name] for name in near)}."
            )
        found.append(spellings[folded])
    return {column: tuple(dict.fromkeys(found))} if found else {}
