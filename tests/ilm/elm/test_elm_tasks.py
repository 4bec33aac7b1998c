import numpy as np
import pyarrow as pa
import pytest

from ilm.elm.tasks import ALONE, TASKS, Request, prompt_digest
from ilm.prompts.attributes import Attributes, attributes
from ilm.prompts.example import Item


@pytest.fixture
def known() -> Attributes:
    """Two films, of which the first has a year, a genre and a long story."""
    table = pa.table(
        {
            "item_index": [0, 1],
            "title": ["Heat (1995)", "Ronin"],
            "genres": ["Crime", None],
            "story": ["A thief and a detective. " + "word " * 200, None],
            "active": np.ones(2, bool),
        }
    )
    return attributes(table)


def test_there_are_24_tasks() -> None:
    assert len(TASKS) == 24


def test_five_tasks_are_about_two_items_and_three_of_them_about_the_nearest() -> None:
    kinds = [task.other for task in TASKS.values()]
    assert (kinds.count("none"), kinds.count("any"), kinds.count("nearest")) == (19, 2, 3)


@pytest.mark.parametrize("task", TASKS)
def test_question_shows_the_items_and_no_title(task: str) -> None:
    other = ALONE if TASKS[task].other == "none" else 1
    pieces = Request(False, task, 0, other).question()
    assert [piece.index for piece in pieces if isinstance(piece, Item)] == ([0] if other == ALONE else [0, 1])
    assert not any(isinstance(piece, str) and ("Heat" in piece or "{" in piece) for piece in pieces)


def test_teacher_is_told_titles_lists_and_the_beginning_of_the_text(known: Attributes) -> None:
    prompt = Request(False, "similarities", 0, 1).prompt(known)
    first, second, question = prompt.split("\n\n")
    assert first.startswith("Heat (1995). Genres: Crime. A thief and a detective. word")
    assert len(first.split()) < 130
    assert second == "Ronin."
    assert question.startswith("What do Heat (1995) and Ronin have in common?")


def test_digest_of_a_prompt_changes_with_what_is_told_of_the_other_item(known: Attributes) -> None:
    request = Request(False, "similarities", 1, 0)
    before = prompt_digest(request.prompt(known))
    known.lists["genres"][0] = ("Drama",)
    assert prompt_digest(request.prompt(known)) != before
