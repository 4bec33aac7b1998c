"""Items that nobody has met yet, put behind the others of a trained model until the next training learns them."""

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ilm.cf.factors import Factors
from ilm.errors import ArtifactError, LookupFailed
from ilm.rank.head import HeadRecommender

_NO_WORDS = ("item_index", "item_id", "active")


def grow(
    ranker: HeadRecommender, factors: Factors, catalogue: pa.Table, items: Sequence[Mapping[str, str]]
) -> tuple[HeadRecommender, Factors, pa.Table]:
    """The model, its vectors and its catalogue with more items; those given stay as they are.

    CF vectors of the new items are guessed from their words (`ilm.cf.cold_items`).

    Args:
        ranker: the model.
        factors: its CF vectors.
        catalogue: its items.
        items: of each `item_id`, `title`, and the catalogue's other columns as far as they are known.

    Raises:
        LookupFailed: an item has no id or title, or an id is there already.
        ArtifactError: items stand in this model's prompts by their titles, of which it keeps a fixed number.
    """
    from ilm.cf.cold_items import TextMap

    ids, there = [item.get("item_id", "") for item in items], set(catalogue["item_id"].to_pylist())
    wrong = [name for name in ids if not name or name in there or ids.count(name) > 1]
    if wrong or not all(item.get("title") for item in items):
        raise LookupFailed(f"each new item needs a title and an id of its own. Wrong: {', '.join(wrong) or 'titles'}.")
    if ranker.card.item_name_tokens:
        raise ArtifactError("this model's items stand in prompts by their titles; train it with the new ones.")
    grown = pa.concat_tables([catalogue, _rows(items, len(catalogue), catalogue.schema)])
    words, known = texts(grown), factors.item_factors
    vectors = np.concatenate([known, TextMap(words[: len(known)], known)(words[len(known) :])])
    bridge = copy(ranker.model)
    bridge._modules = bridge._modules | {"head": deepcopy(bridge.head)}  # the head alone has rows per item
    bridge.head.grow(len(items))
    factors, card = replace(factors, item_factors=vectors), replace(ranker.card, items=len(grown))
    return HeadRecommender(bridge, card, factors, ranker.batch_size), factors, grown


def texts(catalogue: pa.Table) -> list[str]:
    """All words of each item."""
    words = catalogue.select([name for name in catalogue.column_names if name not in _NO_WORDS])
    return [" ".join(str(value) for value in row.values() if value) for row in words.to_pylist()]


def _rows(items: Sequence[Mapping[str, str]], first: int, schema: pa.Schema) -> pa.Table:
    """New active items as rows of the catalogue, numbered from `first`."""
    given = {"item_index": range(first, first + len(items)), "active": [True] * len(items)}
    columns = {name: given.get(name, [item.get(name) for item in items]) for name in schema.names}
    return pa.table({name: pa.array(list(values), schema.field(name).type) for name, values in columns.items()}, schema)
