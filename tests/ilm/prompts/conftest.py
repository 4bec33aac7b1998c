"""A small catalogue with everything in it, and random material to make examples of."""

import numpy as np
import pyarrow as pa
import pytest

from ilm.model.language_model import load_language_model
from ilm.prompts.attributes import attributes
from ilm.prompts.material import Choices, Histories, Material
from tests.tiny import save_language_model

GENRES = ("Action", "Comedy", "Drama", "Film-Noir")


@pytest.fixture(scope="session")
def lm(tmp_path_factory):
    return load_language_model(str(save_language_model(tmp_path_factory.mktemp("lm") / "tiny")))


def random_catalogue(rng, items):
    """Titles with and without a year, none to four genres, some with a long text."""
    years = rng.integers(1950, 2020, items)
    titles = [f"Tale {item}" + (f" ({years[item]})" if rng.random() < 0.8 else "") for item in range(items)]
    genres = [", ".join(rng.permutation(GENRES)[: rng.integers(0, 5)]) or None for _ in range(items)]
    story = [f"Story of {item}: " + "word " * 30 if rng.random() < 0.5 else None for item in range(items)]
    return pa.table(
        {
            "item_index": range(items),
            "item_id": [f"i{item}" for item in range(items)],
            "title": titles,
            "genres": genres,
            "story": story,
            "active": rng.random(items) < 0.9,
        }
    )


def random_material(seed, items=60, users=12):
    """Material over a random catalogue; a tenth of the items must not be named."""
    rng = np.random.default_rng(seed)
    known = attributes(random_catalogue(rng, items))
    named = known.active & (rng.random(items) < 0.9)
    histories = [rng.permutation(items)[: rng.integers(1, 20)].astype(np.int32) for _ in range(users)]
    choices = Choices(Histories.of(histories), rng.integers(0, items, users).astype(np.int32))
    return Material(
        known,
        rng.normal(size=(items, 6)).astype(np.float32),
        rng.integers(0, 5, items),
        {"sequential": choices, "straightforward": choices},
        np.flatnonzero(named),
        named,
        max_history=8,
    )
