"""Where logs come from: every source gives the same two raw tables, and says which of their columns is which."""

from dataclasses import replace
from pathlib import Path

from ilm.data.raw import RawTable, Source
from ilm.data.schema import INTERACTIONS, ITEMS
from ilm.data.untitled import items_of, name_untitled
from ilm.errors import DataError
from ilm.params import DataParams


def load(params: DataParams, *, logs: bool = False) -> Source:
    """Read the source that params.yaml names.

    Args:
        params: section `data`.
        logs: there are log files; then a folder may have items alone.

    Raises:
        DataError: files are missing, unreadable or empty, or a needed column is missing; or a file is too long for the
            memory at hand.
    """
    source = _read(params, logs)
    if params.untitled_items == "name":
        source = replace(source, items=name_untitled(source.items))
    if source.interactions is not None:
        _check_columns(source.interactions, list(INTERACTIONS), [["user_id"], ["item_id"], ["timestamp", "order"]])
    _check_columns(source.items, None, [[name] for name in ITEMS])
    return source


def _read(params: DataParams, logs: bool) -> Source:
    folder = Path(params.folder)
    if params.source == "movielens-small":
        from ilm.data.movielens import movielens_small

        return movielens_small()
    if params.source == "movielens":
        from ilm.data.loaders.movielens_csv import movielens_csv

        return movielens_csv(folder)
    if params.source == "movielens-1m":
        from ilm.data.loaders.movielens_1m import movielens_1m

        return movielens_1m(folder)
    if params.source == "amazon":
        from ilm.data.loaders.amazon import amazon

        return amazon(folder)
    from ilm.data.folder import has_file, read_file
    from ilm.data.long_file import require_room

    interactions = None
    if has_file(folder, "interactions") or not logs:
        require_room(folder, params.logs)
        interactions = RawTable(*read_file(folder, "interactions"), params.interaction_columns)
        if params.untitled_items == "name" and not has_file(folder, "items"):
            return Source(interactions, items_of(interactions))
    return Source(interactions, RawTable(*read_file(folder, "items"), params.item_columns, "data.item_columns"))


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
