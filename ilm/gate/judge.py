"""The gate as a whole: two folders and a log in, a decision and its record out. What goes wrong promotes nobody.

Nothing that breaks leaves this file as an exception but a record that cannot be written: it becomes the decision
`error`, with the whole traceback beside it.
"""

import traceback
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.schema import ITEMS, read_table, write_table
from ilm.errors import IlmError
from ilm.files import digest, read_json, write_text
from ilm.gate.decision import Decision, decide
from ilm.gate.holdout import Holdout, fresh_holdout
from ilm.gate.record import JSON, MARKDOWN, Circumstances, HoldoutFacts, ModelFacts, write_record
from ilm.gate.scoring import score
from ilm.params import Params
from ilm.serve.bundle import MODEL, fitted_until, verify

TRACEBACK, RANKS = "error.txt", "ranks.parquet"


def judge(
    challenger: Path,
    champion: Path | None,
    *,
    interactions: Path,
    items: Path,
    params: Params,
    code: str,
    out: Path,
    bootstrap: bool = False,
) -> Decision:
    """Score both models now, on the same fresh holdout, decide, and write the record.

    Args:
        challenger: folder of its bundle.
        champion: folder of its bundle; None only if there is no champion.
        interactions: the merged log, a table INTERACTIONS.
        items: today's items, a table ITEMS.
        params: section gate, and what scoring needs.
        code: version of the code, such as a git commit; goes into the record.
        out: folder for decision.json, decision.md, ranks.parquet (each case, if it came to that) and error.txt (if it
            broke). What an earlier decision left there is removed.
        bootstrap: whether a first model may be promoted by its absolute guardrails.

    Returns:
        The decision; never an exception for what is wrong with models, data or memory.

    Raises:
        OSError: the record cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in (JSON, MARKDOWN, RANKS, TRACEBACK):  # a killed comparison leaves no decision, an older one least
        (out / name).unlink(missing_ok=True)
    about = Circumstances(code, params, bootstrap)
    try:
        decision = _compared(challenger, champion, interactions, items, out, about)
    except (Exception, pl.exceptions.PanicException) as error:
        # The one place: a gate that cannot judge must still say so, and not promote.
        write_text(out / TRACEBACK, "".join(traceback.format_exception(error)))
        what = str(error) if isinstance(error, IlmError) else f"{type(error).__name__}: {error}"
        decision = Decision("error", (f"The comparison broke: {what}", f"The whole of it is in {TRACEBACK}."))
    write_record(out, decision, about)
    return decision


def _compared(
    challenger: Path, champion: Path | None, interactions: Path, items: Path, out: Path, about: Circumstances
) -> Decision:
    about.challenger, challenger_end = _facts(challenger)
    ends = [challenger_end]
    if champion is not None:
        about.champion, champion_end = _facts(champion)
        ends.append(champion_end)
        if about.champion.digest == about.challenger.digest:
            return Decision("refuse", (f"Champion and challenger are the same model: {about.challenger.digest}.",))
    holdout = fresh_holdout(interactions, max(ends), about.params.gate)
    about.holdout = HoldoutFacts.of(holdout)
    if not holdout.users:
        nobody = (
            f"No user that could be judged has an interaction after {about.holdout.cut}: there is nothing to go by."
        )
        return Decision("refuse", (nobody, "With split.strategy leave_one_out this is usual; use global_time."))

    current = frozenset(read_table(items, ITEMS, with_text=True)["item_id"].to_list())
    folders = {"champion": champion, "challenger": challenger}
    found = {name: score(folder, holdout, current, about.params, name) for name, folder in folders.items() if folder}
    _write_ranks(out / RANKS, holdout, {name: ranks for name, (_, ranks) in found.items()})
    first = found["champion"][0] if "champion" in found else None
    return decide(first, found["challenger"][0], about.params.gate, bootstrap=about.bootstrap)


def _facts(folder: Path) -> tuple[ModelFacts, datetime]:
    """What the record says of a model, and until when it has seen the log.

    Raises:
        ArtifactError: the folder is missing, not whole, or does not say.
    """
    verify(folder)
    until, card = fitted_until(folder), read_json(folder / MODEL / "config.json")
    return ModelFacts(digest(folder), until.isoformat(), card["space_id"]), until


def _write_ranks(path: Path, holdout: Holdout, ranks: Mapping[str, NDArray[np.int32]]) -> None:
    """Every case with its target and each model's rank of it, by user, in the order in which they were asked."""
    columns = {
        "user_id": [holdout.users[user] for user in holdout.user],
        "target": [holdout.item_ids[item] for item in holdout.targets],
    }
    write_table(pl.DataFrame(columns | {f"{name}_rank": values for name, values in ranks.items()}), path)
