"""Examples: who is asked for what, given which history."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.data.examples import examples
from ilm.data.schema import EXAMPLES, SEQUENCES
from ilm.params import PairsParams

PARAMS = PairsParams(max_history=3, max_profile=4, straightforward_per_user=2, seed=7)


def sequences(users: dict[int, str]) -> pl.DataFrame:
    """One letter per position ("t" train, "v" valid, "e" test); item = 100 * user + position."""
    part = {"t": "train", "v": "valid", "e": "test"}
    rows = [
        (user, n, 100 * user + n, part[letter])
        for user, letters in sorted(users.items())
        for n, letter in enumerate(letters)
    ]
    return pl.DataFrame(rows, schema=SEQUENCES, orient="row")


def all_examples(table: pl.DataFrame, params: PairsParams, users_at_once: int = 100) -> pl.DataFrame:
    """Of portions of the users."""
    starts = range(0, 1 + (table["user_index"].max() or 0), users_at_once)
    parts = [table.filter(pl.col("user_index").is_between(n, n + users_at_once, closed="left")) for n in starts]
    return pl.concat([pl.DataFrame(schema=EXAMPLES), *examples(parts, params)])


def select(table: pl.DataFrame, task: str, split: str) -> list[tuple[int, list[int], int]]:
    rows = table.filter(task=task, split=split)
    return rows.select("user_index", "history", "target").rows()


def test_sequential_training_strides_back_from_the_end_of_the_train_part() -> None:
    table = all_examples(sequences({1: "ttttttttve"}), PARAMS)

    assert select(table, "sequential", "train") == [
        (1, [100], 101),
        (1, [100, 101, 102, 103], 104),
        (1, [103, 104, 105, 106], 107),
    ]


def test_held_out_examples_ask_for_the_first_item_of_their_part_given_everything_before() -> None:
    table = all_examples(sequences({1: "ttve", 2: "tvvee"}), PARAMS)

    for task in ("sequential", "straightforward"):
        assert select(table, task, "valid") == [(1, [100, 101], 102), (2, [200], 201)]
        assert select(table, task, "test") == [(1, [100, 101, 102], 103), (2, [200, 201, 202], 203)]


def test_held_out_examples_are_of_users_with_something_before_it() -> None:
    """In the train part or not: who came in the valid part can be asked in the test part."""
    table = all_examples(sequences({1: "vve", 2: "ttt", 3: "te", 4: "tv", 5: "ee"}), PARAMS)

    assert [row[0] for row in select(table, "sequential", "valid")] == [4]
    assert select(table, "sequential", "test") == [(1, [100, 101], 102), (3, [300], 301)]


def test_a_single_train_item_gives_no_training_example() -> None:
    table = all_examples(sequences({1: "tve"}), PARAMS)

    assert table.filter(split="train").is_empty()


def test_an_empty_table_of_sequences_gives_an_empty_table_of_examples() -> None:
    table = all_examples(sequences({}), PARAMS)

    assert table.is_empty() and dict(table.schema) == dict(EXAMPLES)


def test_straightforward_draws_do_not_depend_on_other_users_but_on_the_seed() -> None:
    long = "t" * 50
    alone = all_examples(sequences({5: long}), PARAMS)
    among = all_examples(sequences({1: long, 5: long, 9: "ttt"}), PARAMS)
    reseeded = all_examples(sequences({5: long}), PARAMS.model_copy(update={"seed": 8}))

    drawn = select(alone, "straightforward", "train")
    assert drawn == [row for row in select(among, "straightforward", "train") if row[0] == 5]
    assert drawn != select(reseeded, "straightforward", "train")


def test_straightforward_draws_reach_every_position() -> None:
    table = all_examples(sequences(dict.fromkeys(range(200), "tttttt")), PARAMS)

    drawn = [row[2] % 100 for row in select(table, "straightforward", "train")]
    assert all(40 <= drawn.count(position) <= 120 for position in range(1, 6))  # 80 expected


parts = st.builds(lambda t, v, e: "t" * t + "v" * v + "e" * e, st.integers(0, 12), st.integers(0, 3), st.integers(0, 3))


@given(
    st.dictionaries(st.integers(0, 20), parts.filter(bool), max_size=6),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 10),
)
@settings(deadline=None)
def test_every_example_is_a_true_piece_of_its_users_history(
    users: dict[int, str], max_history: int, max_profile: int, users_at_once: int
) -> None:
    params = PARAMS.model_copy(update={"max_history": max_history, "max_profile": max_profile})

    table = all_examples(sequences(users), params, users_at_once)

    assert table.equals(all_examples(sequences(users), params)), "however many users are worked on at a time"
    for _task, split, user, history, target in table.iter_rows():
        position = target - 100 * user
        first = max(0, position - max_profile)
        assert history == [100 * user + n for n in range(first, position)] and history
        assert users[user][position] == {"train": "t", "valid": "v", "test": "e"}[split]
    train = table.filter(split="train")
    for user, letters in users.items():
        size = letters.count("t")
        mine = train.filter(user_index=user)
        windows = mine.filter(task="sequential")["target"].to_list()
        assert windows == sorted(100 * user + n for n in range(size - 1, 0, -max_history))
        drawn = mine.filter(task="straightforward")["target"].to_list()
        assert len(set(drawn)) == len(drawn) == min(PARAMS.straightforward_per_user, max(size - 1, 0))
