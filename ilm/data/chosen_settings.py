"""Settings that suit so much data: what would stop a run that need not, and what tells a good model from a bad one."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from ilm.data.coded_log import CodedLog, Counts, count
from ilm.data.split import what_counts, with_known_items
from ilm.errors import DataError
from ilm.params import GateParams, SplitParams

CORES = ((5, 5), (3, 3), (3, 2))
"""Interactions that a user and an item need; the first that keeps half of the log."""
LEAST = Counts(users=20, items=20, interactions=200)
"""With fewer left, there is nothing to be learned."""
MOST_UNKNOWN = 0.2
"""With a larger share of unknown items, the items file is another shop's, or half of this one's."""


@dataclass(frozen=True)
class Choice:
    """One setting, and why it has that value."""

    setting: str
    value: Any
    why: str


def choose(interactions: pl.DataFrame, items: pl.DataFrame) -> tuple[list[Choice], Counts]:
    """Settings, and the sizes of what is left to learn from.

    Args:
        interactions: of `ilm.data.ingest`.
        items: likewise.

    Raises:
        DataError: there is too little to learn from, or too many interactions are with unknown items.
    """
    known = with_known_items(interactions, items)
    log = CodedLog.of(known)
    core, sizes = _core(log, len(known))
    choices = [*_limits(interactions, known, items), *core, _split(known, log, core), *_factors(sizes), _retrain(known)]
    return choices, sizes


def _limits(interactions: pl.DataFrame, known: pl.DataFrame, items: pl.DataFrame) -> Iterator[Choice]:
    found = count(known)
    half = "half of what is there: a file that is cut off stops the run"
    yield Choice("validate.min_users", _rounded(found.users / 2), half)
    yield Choice("validate.min_items", _rounded(len(items) / 2), half)
    yield Choice("validate.min_interactions", _rounded(found.interactions / 2), half)
    unknown = 1 - len(known) / len(interactions)
    if unknown > MOST_UNKNOWN:
        example = interactions.join(items, on="item_id", how="anti")["item_id"][0]
        raise DataError(
            f"{unknown:.0%} of the interactions are with items that the items file does not have (such as "
            f"{example!r}). Bring the whole catalogue, or map the column that both files share: --map item_id=…"
        )
    if unknown:
        allowed = math.ceil(100 * unknown) / 100
        why = f"{unknown:.2%} of the interactions are with items that the items file does not have; they are left out"
        yield Choice("validate.max_unknown_item_fraction", allowed, why)
    first = known["timestamp"].min()
    if isinstance(first, datetime) and 1970 < first.year < 1990:
        yield Choice("validate.earliest", f"{first.year}-01-01", f"the log begins on {first:%Y-%m-%d}")


def _core(log: CodedLog, rows: int) -> tuple[list[Choice], Counts]:
    for users, items in CORES:
        try:
            left = what_counts(log, SplitParams(min_user_interactions=users, min_item_interactions=items)).counts
        except DataError:
            continue
        if not _enough(left):
            continue
        if left.interactions >= rows / 2 or (users, items) == CORES[-1]:
            why = f"with these, {left.interactions:,} of {rows:,} interactions are left to learn from"
            settings = (("split.min_user_interactions", users), ("split.min_item_interactions", items))
            return [Choice(name, value, why) for name, value in settings], left
    raise DataError(
        f"{rows:,} interactions of {len(log.users):,} users with {len(log.items):,} items are too few: of users with 3 "
        f"each and items with 2 each, fewer than {LEAST.users} users, {LEAST.items} items or {LEAST.interactions} "
        "interactions are left. Bring more of the log."
    )


def _enough(left: Counts) -> bool:
    return left.users >= LEAST.users and left.items >= LEAST.items and left.interactions >= LEAST.interactions


def _split(known: pl.DataFrame, log: CodedLog, core: list[Choice]) -> Choice:
    """By time where enough users go on afterwards: only then can a later model be proved better."""
    needed = GateParams().min_users
    if known["timestamp"].null_count():
        return Choice("split.strategy", "leave_one_out", "without timestamps, the last item of each user is asked for")
    users, items = (choice.value for choice in core)
    by_time = SplitParams(strategy="global_time", min_user_interactions=users, min_item_interactions=items)
    going_on, when = 0, "the cut"
    with suppress(DataError):
        kept = what_counts(log, by_time)
        assert kept.cut
        after = known.filter(pl.col("timestamp") >= kept.cut.test_from)["user_id"].unique()
        going_on = int(after.is_in(log.users.filter(kept.known.users).implode()).sum())
        when = f"{kept.cut.test_from:%Y-%m-%d}"
    if going_on >= needed:
        why = f"{going_on:,} users go on after {when}: later models can be proved better on what they do then"
        return Choice("split.strategy", "global_time", why)
    why = f"a cut in time would leave {going_on:,} users who go on after it; the gate needs {needed} (gate.min_users)"
    return Choice("split.strategy", "leave_one_out", why)


def _factors(sizes: Counts) -> Iterator[Choice]:
    smaller = min(sizes.users, sizes.items)
    for most, factors in ((200, 16), (1000, 32)):
        if smaller < most:
            yield Choice("cf.factors", factors, f"{sizes.users:,} users and {sizes.items:,} items carry no more")
            return


def _retrain(known: pl.DataFrame) -> Choice:
    why = "a hundredth of the log: a retrain waits for so much that is fresh"
    return Choice("retrain.min_new_interactions", max(100, _rounded(len(known) / 100)), why)


def _rounded(number: float) -> int:
    """Down to two digits: 3,479 -> 3,400; at least 1."""
    step = int(10 ** max(len(str(int(number))) - 2, 0))
    return max(int(number) // step * step, 1)
