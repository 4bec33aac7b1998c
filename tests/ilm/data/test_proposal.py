"""Columns are known by their names and by how both files meet; what is not clear is asked."""

import polars as pl
import pytest

from ilm.data.proposal import propose
from ilm.errors import DataError

INTERACTIONS = {"who": ["a", "a", "b"], "what": ["1", "2", "1"], "when": ["2024-01-01", "2024-01-02", "2024-01-03"]}
ITEMS = {"key": ["1", "2", "3"], "caption": ["One", "Two", "Three"], "colour": ["red", "red", "blue"]}


def found(interactions: dict, items: dict, **given: str) -> dict[str, str]:
    proposal = propose(pl.DataFrame(interactions), pl.DataFrame(items), given)
    told = {ours: column.column for ours, column in proposal.interactions.items()}
    return told | {f"items.{ours}": column.column for ours, column in proposal.items.items()}


def renamed(table: dict, **names: str) -> dict:
    return {names.get(name, name): values for name, values in table.items()}


@pytest.mark.parametrize(
    ("user", "item", "time", "key", "title"),
    [
        ("userId", "movieId", "timestamp", "movieId", "title"),
        ("reviewerID", "asin", "unixReviewTime", "asin", "title"),
        ("Customer", "SKU", "Bought At", "sku", "Product Name"),
        ("user_id", "parent_asin", "timestamp", "parent_asin", "title"),
        ("visitor_id", "what", "event_time", "key", "name"),
    ],
)
def test_names_of_other_houses_are_known(user: str, item: str, time: str, key: str, title: str) -> None:
    told = found(renamed(INTERACTIONS, who=user, what=item, when=time), renamed(ITEMS, key=key, caption=title))
    assert told == {"item_id": item, "user_id": user, "timestamp": time, "items.item_id": key, "items.title": title}


def test_items_meet_by_their_values_whatever_they_are_called() -> None:
    told = found(renamed(INTERACTIONS, who="user", when="time"), renamed(ITEMS, caption="title"))
    assert (told["item_id"], told["items.item_id"]) == ("what", "key")


def test_what_is_left_over_is_the_user_and_numbers_meet_text() -> None:
    interactions = renamed(INTERACTIONS, when="time") | {"what": [1, 2, 1], "rating": [3.0, 4.0, 5.0]}
    told = found(interactions, renamed(ITEMS, caption="title"))
    assert (told["user_id"], told["rating"]) == ("who", "rating")


def test_an_order_does_where_there_is_no_time() -> None:
    told = found(renamed(INTERACTIONS, who="user", when="position"), renamed(ITEMS, caption="title"))
    assert told["order"] == "position"
    assert "timestamp" not in told


def test_what_is_said_counts() -> None:
    told = found(INTERACTIONS, ITEMS, user_id="who", timestamp="when", title="caption")
    assert told["user_id"] == "who"
    two = renamed(INTERACTIONS, who="user", when="time") | {"which": ["2", "3", "3"]}
    assert found(two, renamed(ITEMS, caption="title"), item_id="which", user_id="user")["item_id"] == "which"


@pytest.mark.parametrize(
    ("interactions", "items", "given", "message"),
    [
        (renamed(INTERACTIONS, when="time") | {"also": ["x", "y", "x"]}, renamed(ITEMS, caption="title"), {},
         r"not clear which column is user_id\. Candidates: who, also\. Decide with --map user_id=COLUMN"),
        (renamed(INTERACTIONS, who="user"), renamed(ITEMS, caption="title"), {}, "no column says when"),
        (renamed(INTERACTIONS, who="user", when="time"), ITEMS, {},
         r"which column is title\. Candidates: caption, colour"),
        (INTERACTIONS, ITEMS | {"key": ["7", "8", "9"]}, {}, "holds the ids that the interactions name"),
        (INTERACTIONS, ITEMS | {"key": ["1", "1", "1"]}, {}, "holds the ids that the interactions name"),
        (INTERACTIONS, ITEMS, {"user": "who"}, "user is not one of ours"),
        (INTERACTIONS, ITEMS, {"user_id": "whom"}, "there is no column whom. There is: who, what, when"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked(interactions: dict, items: dict, given: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        found(interactions, items, **given)
