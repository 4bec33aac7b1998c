"""A block of a log file -> rows with the pipeline's columns and types, as the source's rows get them."""

from difflib import get_close_matches

import polars as pl

from ilm.data.logs.blocks import Block
from ilm.data.logs.files import Rejected
from ilm.data.raw import ROW, RawTable
from ilm.data.readings import Forms, given, ids_are_decimal, read_ids, read_ratings, read_timestamps, time_form
from ilm.data.schema import INTERACTIONS
from ilm.errors import ConfigError, DataError
from ilm.params import DataParams

LOG_COLUMNS = [name for name in INTERACTIONS if name != "order"]
"""What is read of a log file; a place within a history means nothing in a file that is one of many."""
NEEDED = ("user_id", "item_id", "timestamp")
IDS = ("user_id", "item_id", "event_id", "event_type")
"""Read as text."""
JUDGED_ROWS = 100_000


def names_that_count(params: DataParams) -> dict[str, list[str]]:
    """Our column -> the names that it may have in a log file.

    Raises:
        ConfigError: `data.log_columns` has a column that is not one of ours, or one without a name.
    """
    wrong = sorted(ours for ours, names in params.log_columns.items() if ours not in LOG_COLUMNS or not names)
    if wrong:
        raise ConfigError(
            f"params.yaml: data.log_columns has {', '.join(wrong)}, but its keys are {', '.join(LOG_COLUMNS)}, each "
            "with at least one name. Write it as {user_id: [user_id, userId]}."
        )
    return {ours: params.log_columns.get(ours, [params.interaction_columns.get(ours, ours)]) for ours in LOG_COLUMNS}


def choose_columns(there: list[str], counting: dict[str, list[str]], *, more_may_come: bool = False) -> dict[str, str]:
    """Our column -> the file's, for those that the file has.

    Args:
        there: the file's columns.
        counting: of `names_that_count`.
        more_may_come: later lines may have columns that are not among `there`; then the first name counts.

    Raises:
        Rejected: a needed column is missing, or two of the file's columns may be the same one of ours.
    """
    found = {ours: [name for name in names if name in there] for ours, names in counting.items()}
    for ours, names in found.items():
        if len(names) > 1:
            raise Rejected(
                "columns_ambiguous",
                f"{' and '.join(names)} are both there, and data.log_columns says that each may be {ours}",
            )
    missing = [ours for ours in NEEDED if not found[ours]]
    if missing:
        lacking = " and no ".join(" or ".join(counting[ours]) for ours in missing)
        close = get_close_matches(missing[0], there, n=1) or ["its_new_name"]
        both = ", ".join([*counting[missing[0]], *close])
        raise Rejected(
            "columns_missing",
            f"no column {lacking}; the file has: {', '.join(there)}. If a column was renamed, let both names count in "
            f"params.yaml, for example data.log_columns: {{{missing[0]}: [{both}]}}",
        )
    chosen = {ours: names or counting[ours][:more_may_come] for ours, names in found.items()}
    return {ours: names[0] for ours, names in chosen.items() if names}


class Typing:
    """Reads the blocks of one file. What its columns mean is judged by the first JUDGED_ROWS of the first block with a
    readable timestamp, and kept; values that do not fit are the row's mistake, not the column's."""

    def __init__(self, name: str, columns: dict[str, str]) -> None:
        self._name, self._columns = name, columns
        self._forms: Forms | None = None

    def read(self, block: Block) -> pl.DataFrame:
        """ROW, LOG_COLUMNS and what the rules ask about.

        Raises:
            Rejected: a whole column cannot be what it should be.
        """
        table = RawTable(self._name, block.rows, self._columns)
        raw = {ours: _there(table, ours) for ours in self._columns}
        try:
            forms = self._forms or Forms(
                time_form(raw["timestamp"].head(JUDGED_ROWS), table.where("timestamp")),
                frozenset(name for name in IDS if name in raw and ids_are_decimal(raw[name].head(JUDGED_ROWS))),
            )
            typed = {name: read_ids(raw[name], table.where(name), name in forms.decimal) for name in IDS if name in raw}
            typed["timestamp"] = read_timestamps(raw["timestamp"], table.where("timestamp"), forms.timestamp)
            if "rating" in raw:
                typed["rating"] = read_ratings(raw["rating"], table.where("rating"), all_may_be_bad=True)
        except DataError as error:
            raise Rejected("column_unreadable", str(error)) from None
        if typed["timestamp"].count():
            self._forms = forms
        columns = [
            typed[name].rename(name) if name in typed else pl.lit(None, dtype=INTERACTIONS[name]).alias(name)
            for name in LOG_COLUMNS
        ]
        for_rules = {
            "rating_given": given(raw["rating"]) if "rating" in raw else pl.lit(False),
            "timestamp_given": pl.lit(True),
            "ordered": pl.lit(False),
        }
        return table.rows.select(ROW, *columns, **for_rules)


def _there(table: RawTable, ours: str) -> pl.Series:
    column = table.column(ours)
    assert column is not None, ours
    return column
