"""What alignment is for: the trained model of the last run, on CF vectors of other fits, aligned to its own and not.

    python -m benchmarks.continuity

Run it in a project after `ilm train`. Nothing is trained but CF vectors. Each line is a fit: how like the model's own
vectors it is, and what the model makes of it (next item, test part, seen items left out).
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from ilm.cf.als import fit
from ilm.cf.drift import measure
from ilm.cf.factors import Factors, load
from ilm.data.schema import CATALOGUE, EXAMPLES, SEQUENCES, read_table
from ilm.errors import IlmError
from ilm.eval.cases import candidate_items, held_out_cases
from ilm.eval.metrics import means
from ilm.eval.protocol import target_ranks
from ilm.files import write_json
from ilm.model.storage import load_bridge
from ilm.params import Params, load_params
from ilm.rank.head import HeadRecommender
from tasks import paths

REPORT = Path("reports/continuity.json")
LATER_ROWS = 0.1
"""Share of the train rows that a user's latest make up: without them, it is an earlier generation's log."""


def fits(own: Factors, params: Params) -> Iterator[tuple[str, Factors]]:
    """Name and vectors of each fit; all but the first are of the model's own train part, or of a part of it."""
    train = read_table(paths.SEQUENCES, SEQUENCES).filter(pl.col("part") == "train")
    age = pl.len().over("user_index") - pl.int_range(pl.len()).over("user_index")
    earlier = train.filter(age > LATER_ROWS * pl.len().over("user_index"))

    def fitted(rows: pl.DataFrame, seed: int, start: Factors | None, anchor: Factors | None) -> Factors:
        found = fit(
            rows["user_index"].to_numpy(),
            rows["item_index"].to_numpy(),
            n_users=len(own.user_factors),
            n_items=len(own.item_factors),
            params=params.cf.model_copy(update={"seed": seed}),
            item_map_hash=own.item_map_hash,
            user_map_hash=own.user_map_hash,
            start=None if start is None else start.item_factors,
            anchor=None if anchor is None else anchor.item_factors,
        )
        return replace(found.factors, space_id=own.space_id)  # which the unaligned ones are not: that is to be shown

    seed = params.cf.seed
    yield "its own", own
    yield "gone on from its own", fitted(train, seed, own, own)
    yield "a tenth less data, gone on from its own", fitted(earlier, seed, own, own)
    yield "a tenth less data, from scratch, aligned", fitted(earlier, seed, None, own)
    yield "another seed, aligned", fitted(train, seed + 1, None, own)
    yield "another seed, not aligned", fitted(train, seed + 1, None, None)


def main() -> None:
    """Rank by each, print a table, and write reports/continuity.json."""
    params, own = load_params(), load(paths.CF_FACTORS)
    sequences = read_table(paths.SEQUENCES, SEQUENCES)
    active = read_table(paths.CATALOGUE, CATALOGUE, with_text=True)["active"].to_numpy()
    candidates = candidate_items(sequences, active, params.split.strategy)
    cases = held_out_cases(read_table(paths.EXAMPLES, EXAMPLES), sequences, "sequential")
    model, card = load_bridge(paths.FINETUNED)
    lines = []
    print("| vectors | cosine | neighbours | drift says | HR@10 | NDCG@10 |\n|---|---|---|---|---|---|", flush=True)
    for name, factors in fits(own, params):
        drift = measure(factors, own, own, 1, params.cf)
        recommender = HeadRecommender(model, card, factors, params.evaluate.batch_size)
        found = means(target_ranks(recommender, "sequential", cases, candidates, params.evaluate.batch_size).filtered)
        lines.append({"vectors": name, "cosine": drift.cosine, "overlap": drift.neighbour_overlap, **found})
        shown = f"{drift.cosine or np.nan:.3f} | {drift.neighbour_overlap or np.nan:.3f} | {drift.decision}"
        print(f"| {name} | {shown} | {found['hr_at_10']:.4f} | {found['ndcg_at_10']:.4f} |", flush=True)
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, lines)


if __name__ == "__main__":
    try:
        main()
    except IlmError as error:
        sys.exit(f"error: {error}")
