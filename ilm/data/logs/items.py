"""Files of items that came with the logs: what the catalogue did not know yet. They are small, and read whole."""

from collections.abc import Sequence

from ilm.data.folder import read_whole
from ilm.data.logs.files import LogFile, Rejected
from ilm.data.raw import RawTable
from ilm.data.schema import ITEMS
from ilm.data.untitled import name_untitled
from ilm.errors import DataError
from ilm.params import DataParams


def read_items(files: Sequence[LogFile], params: DataParams) -> tuple[list[RawTable], dict[str, Rejected]]:
    """The tables that can be read, in the order of their names; and name -> why another one cannot.

    Args:
        files: of `files.find`.
        params: `item_columns` says which column is which, as in the source; `untitled_items` as there.
    """
    tables, rejected = [], {}
    for file in sorted(files, key=lambda file: file.name):
        try:
            tables.append(_read(file, params))
        except Rejected as error:
            rejected[file.name] = error
        except DataError as error:
            rejected[file.name] = Rejected("file_damaged", str(error))
    return tables, rejected


def _read(file: LogFile, params: DataParams) -> RawTable:
    rows = read_whole(file.path)
    columns = {ours: theirs for ours, theirs in params.item_columns.items() if theirs in rows.columns}
    table = RawTable(file.name, rows, columns, "data.item_columns")
    if params.untitled_items == "name":
        table = name_untitled(table)
    missing = [name for name in ITEMS if not table.has(name)]
    if missing:
        raise Rejected("columns_missing", f"no column {' and no '.join(missing)}; there are: {', '.join(rows.columns)}")
    return table
