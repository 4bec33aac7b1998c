"""What a CF backend's vectors are worth: NDCG@10 of their inner products on the built-in data, over seeds.

    python -m benchmarks.cf_backends [--seeds 5] [--targets 10] [implicit-cpu spark …]

Run it in a project after `ilm train` (or `dvc repro split`). Settings are those of its params.yaml but for the seed and
the backend. The last `--targets` items of each user (at most half of what there is) are held out; each is asked for by
itself, among all items that the user has not met. With ten of each, chance between seeds is a third of what it is with
one. `aligned` is the mean cosine of an item's vector to the one that `implicit-cpu` finds with the same seed, after
rotation onto it. Writes reports/cf-backends.json, and prints the means and how far each backend's is from the first
one's, with the standard error of that over seeds.

Two more names show what of a difference is the objective's, and what the solver's: `exact` is ALS of `implicit`'s
objective, `exact-weighted` that of Spark's, translated as the backend does; both start from the same vectors of length
1, as Spark does, and solve every row exactly.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ilm.baselines.als import Als
from ilm.cf.alignment import mean_cosine, neighbour_overlap, rotated, rotation
from ilm.cf.als import Fit, fit
from ilm.cf.backends.spark_mllib import equal_setting
from ilm.cf.factors import Factors
from ilm.cf.fold_in import UserFoldIn
from ilm.cf.loss import training_loss
from ilm.data.schema import CATALOGUE, SEQUENCES, read_table
from ilm.errors import IlmError
from ilm.eval.metrics import means
from ilm.eval.protocol import Cases, target_ranks
from ilm.files import write_json
from ilm.params import CfParams, load_params
from tasks import paths

REPORT = Path("reports/cf-backends.json")


def main(backends: list[str], seeds: int, targets: int) -> None:
    """Fit, rank, print a line per fit and a table of means, and write the report."""
    params = load_params()
    active = read_table(paths.CATALOGUE, CATALOGUE, with_text=True)["active"].to_numpy()
    train, cases = held_out(read_table(paths.SEQUENCES, SEQUENCES), targets)
    users, items = train["user_index"].to_numpy(), train["item_index"].to_numpy()
    interactions = csr_matrix((np.ones(len(users), np.float32), (users, items)))

    def fitted(backend: str, seed: int, anchor: Factors | None) -> Fit:
        if anchor is not None and backend.startswith("exact"):
            seeded = params.cf.model_copy(update={"seed": seed})
            return exact(interactions, backend == "exact-weighted", anchor, seeded)
        return fit(
            users,
            items,
            n_users=interactions.shape[0],
            n_items=len(active),
            params=CfParams.model_validate(params.cf.model_dump() | {"backend": backend, "seed": seed}),
            item_map_hash="i",
            user_map_hash="u",
            anchor=None if anchor is None else anchor.item_factors,
        )

    lines: list[dict[str, Any]] = []
    for seed in range(seeds):
        anchor = fitted("implicit-cpu", seed, None).factors
        for backend in backends:
            began = time.perf_counter()
            found = fitted(backend, seed, anchor)
            seconds = time.perf_counter() - began
            ranks = target_ranks(Als(found.factors), "", cases, active, params.evaluate.batch_size)
            both = found.factors.item_factors.any(axis=1)
            pair = found.factors.item_factors[both], anchor.item_factors[both]
            line = {"backend": backend, "seed": seed, "seconds": seconds, "loss": found.losses[-1]}
            line |= {"aligned": mean_cosine(*pair), "neighbours": neighbour_overlap(*pair, 10), **means(ranks.filtered)}
            lines.append(line)
            shown = [f"{name} {value:.4f}" if isinstance(value, float) else str(value) for name, value in line.items()]
            print("  ".join(shown), flush=True)
    print("| backend | NDCG@10, mean ± sd | from the first | HR@10 | last loss | aligned | seconds |\n|" + "---|" * 7)
    first = np.array([line["ndcg_at_10"] for line in lines if line["backend"] == backends[0]])
    for backend in backends:
        own = [line for line in lines if line["backend"] == backend]
        mean = {name: float(np.mean([line[name] for line in own])) for name in own[0] if name != "backend"}
        ndcg = np.array([line["ndcg_at_10"] for line in own])
        apart = (ndcg - first) / first.mean()
        print(
            f"| {backend} | {ndcg.mean():.4f} ± {ndcg.std(ddof=1):.4f} "
            f"| {apart.mean():+.1%} ± {apart.std(ddof=1) * seeds**-0.5:.1%} | {mean['hr_at_10']:.4f} "
            f"| {mean['loss']:.4f} | {mean['aligned']:.3f} | {mean['seconds']:.1f} |"
        )
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, lines)


def held_out(sequences: pl.DataFrame, targets: int) -> tuple[pl.DataFrame, Cases]:
    """What is fitted, and a case for each of the last items of each user; the user's others are not in the way."""
    behind = pl.int_range(pl.len()).reverse().over("user_index")
    last = behind < pl.min_horizontal(targets, pl.len().over("user_index") // 2)
    train, test = sequences.filter(~last), sequences.filter(last)
    known, asked = (
        dict(rows.group_by("user_index", maintain_order=True).agg("item_index").iter_rows()) for rows in (train, test)
    )
    pairs = [(user, item) for user, items in asked.items() for item in items]
    histories = {user: np.array(items, dtype=np.int32) for user, items in known.items()}
    others = [np.array([i for i in asked[user] if i != item], dtype=np.int32) for user, item in pairs]
    return train, Cases(
        user_index=np.arange(len(pairs), dtype=np.int32),
        targets=np.array([item for _, item in pairs], dtype=np.int32),
        histories=[histories[user] for user, _ in pairs],
        seen=[np.concatenate([histories[user], other]) for (user, _), other in zip(pairs, others, strict=True)],
    )


def exact(interactions: csr_matrix, weighted: bool, anchor: Factors, params: CfParams) -> Fit:
    """ALS with every row solved exactly, in the order of Spark: items first, from users drawn at random."""
    known = np.unique(interactions.indices)
    user_items = interactions[:, known]
    draw = np.random.default_rng(params.seed).normal(size=(user_items.shape[0], params.factors))
    users = (draw / np.linalg.norm(draw, axis=1, keepdims=True)).astype(np.float32)
    penalty, scale = equal_setting(user_items, params.regularization) if weighted else (params.regularization, 1.0)
    item_users = user_items.T.tocsr()
    for _ in range(params.iterations):
        items = solved(users, item_users, penalty, weighted, params.alpha)
        users = solved(items, user_items, penalty, weighted, params.alpha)
    items *= np.float32(scale)
    items = rotated(items, rotation(items, anchor.item_factors[known]))
    users = solved(items, user_items, params.regularization, False, params.alpha)
    whole = np.zeros_like(anchor.item_factors)
    whole[known] = items
    loss = training_loss(user_items, users, items, params.regularization, params.alpha)
    return Fit(replace(anchor, item_factors=whole, user_factors=users), [loss])


def solved(
    others: NDArray[np.float32], matrix: csr_matrix, penalty: float, weighted: bool, alpha: float
) -> NDArray[np.float32]:
    """Vectors of the matrix's rows from those of its columns; weighted: the penalty counts once per entry of a row."""
    rows = np.split(matrix.indices, matrix.indptr[1:-1])
    if not weighted:
        return UserFoldIn(others, penalty, alpha)(rows)
    solver = {count: UserFoldIn(others, penalty * count, alpha) for count in {len(row) for row in rows}}
    return np.concatenate([solver[len(row)]([row]) for row in rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="*", default=["implicit-cpu", "spark"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--targets", type=int, default=10)
    chosen = parser.parse_args()
    try:
        main(chosen.backends, chosen.seeds, chosen.targets)
    except IlmError as error:
        sys.exit(f"error: {error}")
