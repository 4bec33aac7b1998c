"""Step `pairs`: item-text, item-item and user-item pairs for stage 1, recommendation examples for stage 2."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from ilm.data import schema
from ilm.data.examples import examples
from ilm.data.item_pairs import co_consumed, consumed, item_rows
from ilm.data.item_text import item_texts
from ilm.data.sequences import SequencesByUser
from ilm.files import scratch
from tasks.paths import CATALOGUE, EXAMPLES, ITEM_ITEM_PAIRS, ITEM_TEXT_PAIRS, SEQUENCES, USER_ITEM_PAIRS
from tasks.step import Step, main


def run(step: Step) -> None:
    """Derive the four tables by section `pairs`."""
    params = step.params.pairs
    catalogue = schema.read_table(CATALOGUE, schema.CATALOGUE, with_text=True)
    sequences = SequencesByUser(SEQUENCES)
    met = item_rows(sequences, catalogue.height)
    with scratch(ITEM_ITEM_PAIRS) as folder:
        near = co_consumed(sequences, met, params.window, params.neighbours, folder)
        pieces: dict[Path, tuple[schema.Schema, Iterable[pl.DataFrame]]] = {
            ITEM_TEXT_PAIRS: (schema.ITEM_TEXT, [item_texts(catalogue, met)]),
            ITEM_ITEM_PAIRS: (schema.ITEM_ITEM, near),
            USER_ITEM_PAIRS: (schema.USER_ITEM, consumed(sequences)),
            EXAMPLES: (schema.EXAMPLES, examples(sequences, params)),
        }
        rows = {}
        for path, (kind, frames) in pieces.items():
            with schema.table_writer(path, kind) as write:
                rows[path.stem] = sum(write(frame) for frame in frames)
    print("pairs  " + ", ".join(f"{count:,} {name}" for name, count in rows.items()), flush=True)
    step.log_metrics({name: float(count) for name, count in rows.items()})


if __name__ == "__main__":
    main("pairs", run)
