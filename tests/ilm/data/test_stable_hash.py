"""The hashes decide the order of tied events: they may never change."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ilm.data.stable_hash import combine, hash_texts


def splitmix(value: int) -> int:
    """The published generator in plain Python integers."""
    full = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & full
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & full
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & full
    return value ^ (value >> 31)


def test_text_hashes_are_those_of_the_program_b2sum() -> None:
    printed = ["e4a6a0577479b2b4", "ae2a1effba11cf0a", "cb1abf8beff3192f"]  # printf '%s' TEXT | b2sum -l 64

    assert [value.to_bytes(8, "little").hex() for value in hash_texts(["", "i1", "é"]).tolist()] == printed


def test_splitmix_gives_its_published_first_number() -> None:
    assert combine(np.array([0], dtype=np.uint64)).tolist() == [0xE220A8397B1DCDAF]


@given(st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), min_size=1, max_size=5))
def test_combining_equals_the_definition_in_plain_integers(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(side, dtype=np.uint64) for side in zip(*pairs, strict=True))

    assert combine(left, right).tolist() == [splitmix(splitmix(a) ^ b) for a, b in pairs]


def test_the_order_of_arguments_matters() -> None:
    one, two = np.array([1], dtype=np.uint64), np.array([2], dtype=np.uint64)
    assert combine(one, two)[0] != combine(two, one)[0]
