"""Step `cf`: matrix factorisation of the train part -> a vector per item and per user, in the space of those before."""

from typing import TYPE_CHECKING

from tasks import paths
from tasks.previous import read_space
from tasks.step import Step, main

if TYPE_CHECKING:
    from ilm.cf.factors import Factors
    from ilm.params import CfParams


def run(step: Step) -> None:
    """Fit ALS on the interactions of part `train`; write cf.safetensors, the anchor of its space, and drift.json.

    With an earlier generation in `data/previous` the fit goes on from its vectors and is rotated onto their anchor.

    Raises:
        ArtifactError: the earlier generation is not whole.
        DataError: nothing to fit, or the sequences do not belong to the id maps.
    """
    from dataclasses import replace

    import numpy as np

    from ilm.cf.als import fit
    from ilm.cf.drift import Drift, load_drift, measure, save_drift
    from ilm.cf.factors import save
    from ilm.data.schema import ITEM_IDS, USER_IDS, read_table
    from ilm.data.sequences import train_interactions
    from ilm.files import digest

    params, n_items = step.params.cf, read_table(paths.ITEM_IDS, ITEM_IDS).height
    before = read_space(n_items)
    if before is not None and not _is_alike(before[0], params):
        before = None
    if params.backend == "spark":
        print(f"cf  Spark at {params.spark_master}, {params.iterations} iterations from the beginning", flush=True)
    user_index, item_index = train_interactions(paths.SEQUENCES)
    fitted = fit(
        user_index,
        item_index,
        n_users=read_table(paths.USER_IDS, USER_IDS).height,
        n_items=n_items,
        params=params,
        item_map_hash=digest(paths.ITEM_IDS),
        user_map_hash=digest(paths.USER_IDS),
        start=before and before[0].item_factors,
        anchor=before and before[1].item_factors,
    )
    if before is None:
        drift = Drift("first", "no earlier generation with the same settings", 1, fitted.factors.space_id)
    else:
        generation = load_drift(paths.PREVIOUS / paths.DRIFT.name).generation
        drift = measure(fitted.factors, *before, generation, params)
    factors = replace(fitted.factors, space_id=drift.space_id)
    save(paths.CF_FACTORS, factors)
    save(paths.ANCHOR, before[1] if before and drift.decision != "retrain" else factors)
    save_drift(paths.DRIFT, drift)

    for iteration, loss in enumerate(fitted.losses):
        step.log_metrics({"loss": loss}, iteration)
    for name in ("item", "user"):
        norms = np.linalg.norm(getattr(factors, f"{name}_factors"), axis=1)
        step.log_metrics(
            {f"{name}_norm_mean": float(norms.mean()), f"{name}_without_vector": float((norms == 0).sum())}
        )
    if drift.cosine is not None and drift.neighbour_overlap is not None:
        step.log_metrics({"anchor_cosine": drift.cosine, "anchor_neighbour_overlap": drift.neighbour_overlap})
    print(f"cf  {len(user_index):,} interactions  loss {fitted.losses[-1]:.4f}  space {drift.space_id}", flush=True)
    print(f"cf  generation {drift.generation}: {drift.decision} ({drift.reason})", flush=True)


def _is_alike(earlier: "Factors", params: "CfParams") -> bool:
    """Whether its vectors are solutions of the same problem."""
    theirs = (earlier.item_factors.shape[1], earlier.regularization, earlier.alpha)
    return theirs == (params.factors, params.regularization, params.alpha)


if __name__ == "__main__":
    main("cf", run)
