from pathlib import Path

import pytest

from flows.summary import champion_line, commands_to_try, headline, print_summary


def test_table_ends_with_the_ilm_and_shows_the_filtered_ranking(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(finished, "1", "1")
    rows = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert rows == ["popularity", "als", "ilm"]


@pytest.mark.parametrize(
    ("users", "cases", "words"),
    [
        (671, 671, "Next item, 671 users, 9 items, items seen before left out"),
        (6040, 1250, "Next item, 1,250 of 6,040 users, 9 items, items seen before left out"),
        (
            603,
            20,
            "Next item, 20 of 603 users, 9 items, items seen before left out; 20 are too few to tell systems apart",
        ),
    ],
)
def test_the_headline_says_how_many_users_the_table_rests_on(users: int, cases: int, words: str) -> None:
    assert headline({"users": users, "cases": cases, "items": 9}) == words


@pytest.mark.parametrize(
    ("champion", "words"),
    [("2", "champion  version 2"), ("1", "ilm promote 2 --because TEXT"), (None, "ilm promote 2 --bootstrap")],
)
def test_who_serves_and_what_to_do_about_it(champion: str | None, words: str) -> None:
    assert words in champion_line("2", champion)


def test_commands_quote_titles_for_the_shell(finished: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    titles = ["Heat (1995)", "Schindler's List (1993)", "gone"]
    path = finished / "data/features/catalogue.parquet"
    path.chmod(0o644)
    pq.write_table(pa.table({"title": titles, "active": [True, True, False]}), path)
    assert commands_to_try(finished)[1] == (
        """ilm recommend --history 'Heat (1995)' 'Schindler'"'"'s List (1993)' -k 10"""
    )
