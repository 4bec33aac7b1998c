"""Where logs come from: every source gives the same two raw tables, and says which of their columns is which."""

from pathlib import Path

from ilm.data.raw import RawTable, Source
from ilm.data.schema import INTERACTIONS, ITEMS
from ilm.errors import DataError
from ilm.params import DataParams


def load(params: DataParams) -> Source:
    """Read the source that params.yaml names.

    Raises:
        DataError: files are missing, unreadable or empty, or a needed column is missing.
    """
    if params.source == "movielens-small":
        from ilm.data.movielens import movielens_small

        source = movielens_small()
    else:
        from ilm.data.folder import read_file

        source = Source(
            RawTable(*read_file(Path(params.folder), "interactions"), params.interaction_columns),
            RawTable(*read_file(Path(params.folder), "items"), params.item_columns, "data.item_columns"),
        )
    _check_columns(source.interactions, list(INTERACTIONS), [["user_id"], ["item_id"], ["timestamp", "order"]])
    _check_columns(source.items, None, [[name] for name in ITEMS])
    return source


def _check_columns(table: RawTable, known: list[str] | None, needed: list[list[str]]) -> None:
    """All that is wrong with a table's columns, in one message.

    Args:
        table: the table.
        known: our columns; None where any further column is welcome.
        needed: groups of our columns; of each group one must be there.
    """
    problems = [
        f"{table.setting} names {ours}, which is not one of ours ({', '.join(known)})"
        for ours in table.columns
        if known is not None and ours not in known
    ]
    problems += [
        f"{table.setting} maps {ours} to {theirs}, which the file does not have"
        for ours, theirs in table.columns.items()
        if theirs not in table.names()
    ]
    missing = [
        " or ".join(group) for group in needed if not any(name in table.columns or table.has(name) for name in group)
    ]
    problems += [f"no column {name}" for name in missing]
    if problems:
        example = (missing[0] if missing else "item_id").split(" ")[0]
        raise DataError(
            f"{table.name}: {'; '.join(problems)}. The file has: {', '.join(table.names())}. "
            f"Map a column in params.yaml, for example {table.setting}: {{{example}: its_name_in_the_file}}."
        )
