"""Which column of two files is what: proposed from names, and from how the values of both files meet.

What is not clear is not guessed: `DataError` names the candidates and how to decide.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ilm.data.raw import ROW
from ilm.errors import DataError

NAMES: dict[str, tuple[str, ...]] = {
    "user_id": ("userid", "user", "uid", "customerid", "customer", "reviewerid", "memberid", "member", "visitorid",
                "clientid", "client", "accountid", "account", "buyerid", "buyer", "sessionid"),
    "item_id": ("itemid", "item", "iid", "productid", "product", "asin", "parentasin", "sku", "movieid", "movie",
                "articleid", "article", "isbn", "trackid", "bookid", "contentid", "id"),
    "timestamp": ("timestamp", "time", "ts", "datetime", "date", "createdat", "eventtime", "boughtat", "purchasedat",
                  "unixreviewtime", "reviewtime", "viewedat", "occurredat"),
    "order": ("order", "position", "sequence", "seq"),
    "rating": ("rating", "ratings", "stars", "score", "overall"),
    "event_id": ("eventid",),
    "event_type": ("eventtype", "event", "action", "type"),
    "title": ("title", "name", "itemname", "productname", "producttitle", "movietitle", "booktitle", "headline"),
}  # fmt: skip
"""What columns are called elsewhere, the likeliest first; letters and digits only, in lower case."""
OVERLAP = 0.5
"""Share of the interactions' items that the items file must know, for two columns to mean the same."""
SAMPLE = 200_000
"""Rows whose values are looked at."""


@dataclass(frozen=True)
class Found:
    """A column, and why it is taken for what it is."""

    column: str
    why: str


@dataclass(frozen=True)
class Proposal:
    """Our column -> the files' columns."""

    interactions: dict[str, Found]
    items: dict[str, Found]


def propose(interactions: pl.DataFrame, items: pl.DataFrame, given: Mapping[str, str]) -> Proposal:
    """Propose what the columns are.

    Args:
        interactions, items: rows as read.
        given: our column -> the file's, as the user says; `title` is of the items, `item_id` of both where both have
            the column, all others are of the interactions.

    Raises:
        DataError: a needed column is not to be found, or several may be it; or a given one is not there.
    """
    _check_given(interactions, items, given)
    item, catalogue_item = _item_columns(interactions, items, given)
    found = {"item_id": item}
    for ours, needed in (("user_id", True), ("timestamp", False), ("order", False), ("rating", False),
                         ("event_id", False), ("event_type", False)):  # fmt: skip
        if ours == "order" and "timestamp" in found:
            continue
        column = _by_name(ours, interactions, given, {each.column for each in found.values()}, needed)
        if column is not None:
            found[ours] = column
    if "timestamp" not in found and "order" not in found:
        raise _unclear("timestamp", interactions.columns, "interactions: no column says when, or in which order")
    title = _by_name("title", items, given, {catalogue_item.column}, needed=True)
    assert title is not None
    return Proposal(found, {"item_id": catalogue_item, "title": title})


def _check_given(interactions: pl.DataFrame, items: pl.DataFrame, given: Mapping[str, str]) -> None:
    for ours, theirs in given.items():
        if ours not in NAMES:
            raise DataError(f"--map {ours}={theirs}: {ours} is not one of ours ({', '.join(NAMES)}).")
        tables = {"title": [items], "item_id": [interactions, items]}.get(ours, [interactions])
        if not any(theirs in table.columns for table in tables):
            there = ", ".join(name for table in tables for name in table.columns if name != ROW)
            raise DataError(f"--map {ours}={theirs}: there is no column {theirs}. There is: {there}.")


def _item_columns(interactions: pl.DataFrame, items: pl.DataFrame, given: Mapping[str, str]) -> tuple[Found, Found]:
    """The columns of both files that mean the item: whose values meet, and that tell the items apart."""
    pairs = []
    for theirs in _columns(items):
        known = items[theirs].cast(pl.String).drop_nulls()
        if not len(known) or known.n_unique() < 0.9 * len(items):
            continue
        for ours in _columns(interactions):
            if "item_id" in given and given["item_id"] not in (ours, theirs):
                continue
            values = interactions[ours].head(SAMPLE).cast(pl.String).drop_nulls().unique()
            share = values.is_in(known.implode()).mean() if len(values) else 0.0
            if isinstance(share, float) and share >= OVERLAP:
                pairs.append(
                    (-round(share, 2), _place("item_id", ours) + _place("item_id", theirs), ours, theirs, share)
                )
    if not pairs:
        raise DataError(
            "no column of the items file holds the ids that the interactions name. Are these files of the same shop? "
            "If so, name the column: --map item_id=COLUMN."
        )
    _, _, ours, theirs, share = min(pairs)
    said = f"{share:.1%} of its values are in the items file's {theirs}"
    return Found(ours, said), Found(theirs, "tells the items apart, and the interactions name it")


def _by_name(ours: str, table: pl.DataFrame, given: Mapping[str, str], taken: set[str], needed: bool) -> Found | None:
    if ours in given:
        return Found(given[ours], "as you say")
    named = sorted((_place(ours, column), column) for column in _columns(table) if column not in taken)
    named = [(place, column) for place, column in named if place < 99]
    if named and (len(named) == 1 or named[0][0] < named[1][0]):
        return Found(named[0][1], "by its name")
    if not needed and not named:
        return None
    left = [column for column in _columns(table) if column not in taken and not _means_another(ours, column)]
    if len(left) == 1 and not named:
        return Found(left[0], "the only column that is left for it")
    candidates = [column for _, column in named] or left
    raise _unclear(ours, candidates, f"it is not clear which column is {ours}")


def _unclear(ours: str, candidates: Sequence[str], what: str) -> DataError:
    there = ", ".join(name for name in candidates if name != ROW)
    return DataError(f"{what}. Candidates: {there}. Decide with --map {ours}=COLUMN.")


def _columns(table: pl.DataFrame) -> list[str]:
    return [name for name in table.columns if name != ROW]


def _means_another(ours: str, column: str) -> bool:
    return any(_place(other, column) < 99 for other in NAMES if other != ours)


def _place(ours: str, column: str) -> int:
    """Where a column's name stands among the names of ours; 99 where it does not."""
    plain = re.sub(r"[^a-z0-9]", "", column.casefold())
    return NAMES[ours].index(plain) if plain in NAMES[ours] else 99
