"""Parts of a batch; the gather across processes is tested in tests/ilm/train/test_two_processes.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ilm.errors import ConfigError
from ilm.model.shards import WHOLE, Shard, gather_rows


@given(count=st.integers(1, 5), inner=st.integers(1, 4), size=st.integers(1, 6))
def test_parts_of_parts_are_the_batch_in_order(count: int, inner: int, size: int) -> None:
    rows = list(range(count * inner * size))
    parts = [Shard(i, inner).within(Shard(o, count)) for o in range(count) for i in range(inner)]
    assert [row for part in parts for row in rows[part.rows(len(rows))]] == rows


@given(count=st.integers(1, 8), total=st.integers(0, 30))
def test_shares_are_the_batch_in_order_and_differ_by_at_most_a_row(count: int, total: int) -> None:
    rows = list(range(total))
    shares = [rows[Shard(index, count).share(total)] for index in range(count)]
    assert [row for share in shares for row in share] == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("total", "count"), [(5, 2), (1, 2), (0, 1)])
def test_batch_that_gives_no_equal_parts_is_refused(total: int, count: int) -> None:
    with pytest.raises(ConfigError, match=f"{total} rows cannot be cut into {count}"):
        Shard(0, count).rows(total)


def test_gather_on_one_process_is_the_very_tensor() -> None:
    own = torch.ones(2)
    assert gather_rows(own, WHOLE) is own
