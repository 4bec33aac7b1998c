"""Tasks about items: the language model says from an item's vector what the catalogue says of it."""

import numpy as np

from ilm.prompts.attributes import Attributes, listed, sentence
from ilm.prompts.example import Content, Example, Item, Turn, fill
from ilm.prompts.material import Material

DESCRIBE = ("Describe {item}.", "What is {item}?", "Tell me about {item}.")
COMPARE = ("Compare {first} and {second}.", "How do {first} and {second} differ?")


def description(material: Material, item: int, rng: np.random.Generator) -> Example:
    """Title, lists and one of the long texts of an item."""
    known = material.attributes
    parts = [known.name(item), *facts(known, item)]
    if known.texts[item]:
        parts.append(sentence(known.texts[item][rng.integers(len(known.texts[item]))]))
    return _example(fill(DESCRIBE[rng.integers(len(DESCRIBE))], item=Item(item)), " ".join(parts))


def attributes(material: Material, item: int, rng: np.random.Generator) -> Example:
    """One attribute of an item: its title, its year, or one of its lists, whichever are known."""
    known = material.attributes
    questions = [("What is {item} called?", "", known.name(item))]
    if known.years[item]:
        questions.append(("What year is {item} from?", "", f"{known.years[item]}."))
    for column, values in known.lists.items():
        if values[item]:
            questions.append(("Which {column} does {item} have?", column, sentence(listed(values[item]))))
    question, column, answer = questions[rng.integers(len(questions))]
    return _example(fill(question, item=Item(item), column=column), answer)


def comparison(material: Material, item: int, rng: np.random.Generator) -> Example:
    """Two items: which is older, which was chosen by more users, what they share and what they do not."""
    known, first = material.attributes, item
    others = material.items[material.items != first]
    second = int(others[rng.integers(len(others))])
    parts = []
    if known.years[first] and known.years[second]:
        both = f"Both are from {known.years[first]}."
        older = int(np.sign(known.years[second] - known.years[first]))
        parts.append((both, "The first is older.", "The second is older.")[older])
    chosen = int(np.sign(material.popularity[first] - material.popularity[second]))
    parts.append(
        ("Equally many users chose them.", "More users chose the first.", "More users chose the second.")[chosen]
    )
    for column, values in known.lists.items():
        parts += _contrast(column, values[first], values[second])
    ask = fill(COMPARE[rng.integers(len(COMPARE))], first=Item(first), second=Item(second))
    return _example(ask, " ".join(parts))


def facts(known: Attributes, item: int) -> list[str]:
    """`Genres: Action, Crime.` for every list that is known of the item."""
    filled = [(column, values[item]) for column, values in known.lists.items() if values[item]]
    return [sentence(f"{column.capitalize()}: {', '.join(values)}") for column, values in filled]


def _contrast(column: str, first: tuple[str, ...], second: tuple[str, ...]) -> list[str]:
    """What is shared and what is not in a column that is known of both."""
    if not first or not second:
        return []
    shared = [value for value in first if value in second]
    alone = [
        f"of the {name} alone: {', '.join(value for value in values if value not in shared)}"
        for name, values in (("first", first), ("second", second))
        if set(values) - set(shared)
    ]
    parts = [f"of both: {', '.join(shared)}"] if shared else []
    return [sentence(f"{column.capitalize()} {'; '.join(parts + alone)}")]


def _example(ask: Content, answer: str) -> Example:
    return Example((Turn(ask, (answer,)),))
