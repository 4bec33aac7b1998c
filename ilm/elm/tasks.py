"""The 24 tasks: what is asked of one item, or of two. The same words for a model, which is shown soft tokens or a bare
title, and for the teacher, which is told all that the catalogue says.

The names are those of ELM (Tennenholtz et al., arXiv 2310.04475); its wordings are not public. These are ours, for
items of any kind, and ask for short answers, because every token costs time on a CPU.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from ilm.prompts.attributes import Attributes, sentence
from ilm.prompts.example import Content, Item, fill
from ilm.prompts.item_tasks import facts

ALONE = -1
"""Stands for the other item where there is none."""
TEXT_WORDS = 120
"""Words of an item's long texts, taken together, that the teacher is told."""


@dataclass(frozen=True)
class ElmTask:
    """`wording` has `{item}`, and `{other}` where there is a second item; `other` says which one that is: any, or the
    nearest by the cosine of CF vectors."""

    wording: str
    other: Literal["none", "any", "nearest"] = "none"


TASKS: dict[str, ElmTask] = {
    "summary": ElmTask("Summarise {item} in two sentences."),
    "positive_review": ElmTask("Write a short positive review of {item}."),
    "negative_review": ElmTask("Write a short negative review of {item}."),
    "neutral_review": ElmTask("Write a short neutral review of {item}."),
    "five_positive_characteristics": ElmTask("List five positive characteristics of {item} in a few words each."),
    "five_negative_characteristics": ElmTask("List five negative characteristics of {item} in a few words each."),
    "long_description": ElmTask("Describe {item} at length."),
    "funnier": ElmTask("Describe a funnier version of {item} in two sentences."),
    "sadder": ElmTask("Describe a sadder version of {item} in two sentences."),
    "scarier": ElmTask("Describe a scarier version of {item} in two sentences."),
    "improve": ElmTask("How could {item} be improved? Answer in two sentences."),
    "movie_to_viewer": ElmTask("Describe the kind of person who would like {item} in two sentences."),
    "pitch": ElmTask("Pitch {item} in two sentences."),
    "criticize": ElmTask("Criticize {item} in two sentences."),
    "convince_1": ElmTask("Convince me to choose {item} in two sentences."),
    "convince_2": ElmTask("I am in doubt about {item}. Give me the best reasons for it in two sentences."),
    "convince_3": ElmTask("Tell me, as a friend would, why I must not miss {item}, in two sentences."),
    "dissuade_1": ElmTask("Dissuade me from choosing {item} in two sentences."),
    "dissuade_2": ElmTask("I am curious about {item}. Give me the best reasons against it in two sentences."),
    "similarities": ElmTask("What do {item} and {other} have in common? Answer in two sentences.", "any"),
    "interpolation": ElmTask("Describe something halfway between {item} and {other} in two sentences.", "any"),
    "why_like_nearest_neighbour": ElmTask(
        "Why would someone who likes {item} like {other}, too? Answer in two sentences.", "nearest"
    ),
    "difference_from_nearest_neighbour": ElmTask(
        "How does {item} differ from {other}? Answer in two sentences.", "nearest"
    ),
    "common_with_nearest_neighbour": ElmTask(
        "What does {item} share with {other}? Answer in two sentences.", "nearest"
    ),
}


@dataclass(frozen=True, order=True)
class Request:
    """One text to be said: of a task, about an item, or about an item and an `other` one (else `ALONE`)."""

    held_out: bool
    task: str
    item: int
    other: int = ALONE

    def question(self) -> Content:
        """What a model is asked: the words, with the items themselves in their places."""
        return fill(TASKS[self.task].wording, item=Item(self.item), other=Item(self.other))

    def prompt(self, known: Attributes) -> str:
        """What the teacher is asked: what the catalogue says of the items, and the same words with their titles."""
        told = [_told(known, item) for item in (self.item, self.other) if item != ALONE]
        titles = {"item": known.titles[self.item], "other": "" if self.other == ALONE else known.titles[self.other]}
        return "\n\n".join([*told, "".join(map(str, fill(TASKS[self.task].wording, **titles)))])


def prompt_digest(prompt: str) -> str:
    """SHA-256 of a teacher's prompt: it changes with a wording, a title and whatever else was told."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def wordings_version() -> str:
    """12 hexadecimal digits that change with any wording."""
    wordings = {name: task.wording for name, task in TASKS.items()}
    return hashlib.sha256(json.dumps(wordings, sort_keys=True).encode()).hexdigest()[:12]


def _told(known: Attributes, item: int) -> str:
    words = " ".join(known.texts[item]).split()
    text = [sentence(" ".join(words[:TEXT_WORDS]))] if words else []
    return " ".join([known.name(item), *facts(known, item), *text])
