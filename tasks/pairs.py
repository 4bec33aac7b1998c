"""Step `pairs`: item-text, item-item and user-item pairs for stage 1, recommendation examples for stage 2."""

from ilm.data import schema
from ilm.data.examples import examples
from ilm.data.item_pairs import co_consumed, consumed
from ilm.data.item_text import item_texts
from tasks.paths import CATALOGUE, EXAMPLES, ITEM_ITEM_PAIRS, ITEM_TEXT_PAIRS, SEQUENCES, USER_ITEM_PAIRS
from tasks.step import Step, main


def run(step: Step) -> None:
    """Derive the four tables by section `pairs`."""
    params = step.params.pairs
    catalogue = schema.read_table(CATALOGUE, schema.CATALOGUE, with_text=True)
    sequences = schema.read_table(SEQUENCES, schema.SEQUENCES)
    tables = {
        ITEM_TEXT_PAIRS: item_texts(catalogue, sequences),
        ITEM_ITEM_PAIRS: co_consumed(sequences, params.window, params.neighbours),
        USER_ITEM_PAIRS: consumed(sequences),
        EXAMPLES: examples(sequences, params),
    }
    for path, table in tables.items():
        schema.write_table(table, path)
    print("pairs  " + ", ".join(f"{len(table):,} {path.stem}" for path, table in tables.items()), flush=True)
    step.log_metrics({path.stem: len(table) for path, table in tables.items()})


if __name__ == "__main__":
    main("pairs", run)
