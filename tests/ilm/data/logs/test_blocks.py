"""Every form of file gives the same rows, block by block; damage is said with the line or the file."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.data.folder import read_whole
from ilm.data.logs import blocks, text_blocks
from ilm.data.logs.blocks import column_names, read_blocks
from ilm.data.logs.files import Rejected
from ilm.data.raw import ROW
from tests.log_drops import drop

COLUMNS = ["user_id", "item_id", "timestamp"]
ROWS = [{"user_id": f"u{n}", "item_id": f"i{n}", "timestamp": str(1_700_000_000 + n), "rest": "x"} for n in range(7)]


def read(path: Path, columns: list[str] = COLUMNS) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Rows, and unreadable lines, of all blocks."""
    found = list(read_blocks(path, columns))
    return [row for block in found for row in block.rows.rows()], [
        line for block in found for line in block.unreadable.rows()
    ]


@pytest.fixture(params=[40, 1 << 20])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", request.param)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz", "a.jsonl.gz"])
def test_every_form_gives_its_rows_numbered_from_one(tmp_path: Path, block_bytes: None, name: str) -> None:
    path = drop(tmp_path, name, ROWS)

    assert column_names(path) == [*COLUMNS, "rest"]
    assert read(path) == ([(n + 1, *(row[c] for c in COLUMNS)) for n, row in enumerate(ROWS)], [])


@pytest.mark.parametrize("group", [1, 2, 3, 7])
def test_row_groups_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 3)
    pl.DataFrame(ROWS).write_parquet(tmp_path / "a.parquet", row_group_size=group)

    assert read(tmp_path / "a.parquet")[0] == [(n + 1, *(row[c] for c in COLUMNS)) for n, row in enumerate(ROWS)]
    assert max(len(block.rows) for block in read_blocks(tmp_path / "a.parquet", COLUMNS)) <= 3


def test_windows_line_ends_a_byte_order_mark_and_blank_lines_change_nothing(tmp_path: Path, block_bytes: None) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfuser_id,item_id,timestamp\r\nu1,i1,1\r\n\r\nu2,i2,2")
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"user_id": "u1"}\r\n\r\n{"user_id": "u2"}')

    assert read(tmp_path / "a.csv")[0] == [(1, "u1", "i1", "1"), (3, "u2", "i2", "2")]
    assert read(tmp_path / "a.jsonl", ["user_id"])[0] == [(1, "u1"), (2, "u2")]


def test_values_over_several_lines_are_not_cut(tmp_path: Path, block_bytes: None) -> None:
    text = "user_id,note,item_id,timestamp\n" + "".join(f'u{n},"one\n""two""\n,three",i{n},{n}\n' for n in range(9))
    (tmp_path / "a.csv").write_text(text)

    rows, unreadable = read(tmp_path / "a.csv", [*COLUMNS, "note"])

    assert rows == [(n + 1, f"u{n}", f"i{n}", str(n), 'one\n"two"\n,three') for n in range(9)]
    assert unreadable == []


@pytest.mark.parametrize(
    "line", [b"u,i,1,too,many", b'u,"i"x,1', b'"u,i,1', b"u,\xff,1"], ids=["values", "quotes", "open", "utf-8"]
)
def test_a_broken_line_of_csv_is_set_aside_and_the_others_are_read(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(b"user_id,item_id,timestamp\nu1,i1,1\n" + line + b"\nu2,i2,2\n")

    rows, unreadable = read(tmp_path / "a.csv")

    assert rows == [(1, "u1", "i1", "1"), (3, "u2", "i2", "2")]
    assert unreadable == [(2, line.decode(errors="replace"))]


def test_lines_between_two_stray_quotation_marks_are_not_swallowed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('user_id,item_id,timestamp\nu1,"i1,1\nu2,i2,2\nu3,"i3,3\nu4,i4,4\n')

    rows, unreadable = read(tmp_path / "a.csv")

    assert [row[0] for row in rows] == [2, 4]
    assert [line[0] for line in unreadable] == [1, 3]


@pytest.mark.parametrize("line", [b"{bad", b"12", b"[1]", b'{"user_id": "\xff"}'])
def test_a_broken_line_of_json_is_set_aside_and_the_others_are_read(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"user_id": "u1"}\n' + line + b'\n{"user_id": 2.0}\n')

    assert read(tmp_path / "a.jsonl", ["user_id"]) == (
        [(1, "u1"), (3, "2")],
        [(2, line.decode(errors="replace"))],
    )


json_values = st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.text(max_size=5), st.just(2.5))


@given(st.lists(json_values, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_line_by_line_json_reads_as_it_does_at_once(values: list[object]) -> None:
    lines = [json.dumps({"user_id": value}).encode() for value in values]
    fast = pl.read_ndjson(b"\n".join(lines), schema={"user_id": pl.String})["user_id"].to_list()

    slow, _, _ = text_blocks._json_lines(b"\n".join(lines), ["user_id"])

    assert slow["user_id"].to_list() == fast


def test_a_csv_file_reads_as_the_source_reads_it(tmp_path: Path) -> None:
    path = drop(tmp_path, "a.csv", [*ROWS, {"user_id": None, "item_id": "", "timestamp": None, "rest": None}])

    assert read(path, column_names(path))[0] == read_whole(path).rows()


def test_a_cut_off_gzip_file_is_rejected_though_its_first_rows_can_be_read(tmp_path: Path, block_bytes: None) -> None:
    path = drop(tmp_path, "a.csv.gz", ROWS * 50)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(Rejected, match="ends in the middle") as error:
        read(path)
    assert error.value.rule == "file_cut_off"


@pytest.mark.parametrize("name", ["a.csv.gz", "a.parquet"])
def test_a_file_of_other_bytes_is_rejected_as_damaged(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is neither")

    with pytest.raises(Rejected) as error:
        column_names(tmp_path / name)
    assert error.value.rule == "file_damaged"


def test_bytes_that_rot_inside_a_file_are_noticed(tmp_path: Path) -> None:
    packed, parquet = drop(tmp_path, "a.jsonl.gz", ROWS * 99), drop(tmp_path, "a.parquet", ROWS * 999)
    for path in (packed, parquet):
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 40] = bytes(40)
        path.write_bytes(content)

    for path in (packed, parquet):
        with pytest.raises(Rejected) as error:
            read(path, ["rest", *COLUMNS])
        assert error.value.rule == "file_damaged"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_a_file_without_a_byte_is_rejected(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(Rejected) as error:
        column_names(tmp_path / name)
    assert error.value.rule == "file_empty"


def test_a_file_with_column_names_only_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user_id,item_id,timestamp\n")

    assert read(tmp_path / "a.csv") == ([], [])


@pytest.mark.parametrize("header", ["a,a", "", '"a', ",,"])
def test_a_header_that_names_nothing_or_twice_is_rejected(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n1,2\n")

    with pytest.raises(Rejected):
        column_names(tmp_path / "a.csv")


def test_row_numbers_are_a_column_of_their_own(tmp_path: Path) -> None:
    (block,) = read_blocks(drop(tmp_path, "a.csv", ROWS), COLUMNS)

    assert block.rows.columns == [ROW, *COLUMNS]


def test_members_of_a_gzip_file_follow_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"user_id": 1}\n') + gzip.compress(b'{"user_id": 2}\n'))

    assert read(tmp_path / "a.jsonl.gz", ["user_id"])[0] == [(1, "1"), (2, "2")]
