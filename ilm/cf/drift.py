"""How far the CF vectors have moved from those that the models were trained on, and what is made anew because of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ilm.cf.alignment import mean_cosine, neighbour_overlap
from ilm.cf.factors import Factors
from ilm.errors import ArtifactError
from ilm.files import read_json, write_json
from ilm.params import CfParams

Decision = Literal["first", "reuse", "refresh", "retrain"]


@dataclass(frozen=True)
class Drift:
    """One generation of vectors beside the anchor: the vectors that began the space, which the encoder has read."""

    decision: Decision
    """`first`: nothing came before; `reuse`: encoder and model as they are; `refresh`: stage 2 goes on from the old
    model; `retrain`: a new space, and everything anew."""
    reason: str
    generation: int
    """Fits in this space, this one included."""
    space_id: str
    cosine: float | None = None
    """Mean cosine of an item's vector to the anchor's, after alignment; None without an anchor."""
    neighbour_overlap: float | None = None
    """Mean share of an item's nearest neighbours that the anchor has, too."""
    cosine_to_previous: float | None = None
    """As `cosine`, to the generation before."""
    shared_items: int = 0
    """Items that have a vector here and in the anchor."""
    new_items: int = 0
    """Items that have a vector here and had none in the generation before."""


def measure(factors: Factors, previous: Factors, anchor: Factors, generation: int, params: CfParams) -> Drift:
    """Compare aligned vectors with the anchor and decide by the thresholds of section `cf`.

    Args:
        factors: of this generation, aligned to the anchor; rows of the earlier maps come first.
        previous: of the generation before, in the anchor's space.
        anchor: of the generation that began the space.
        generation: number of the generation before.
        params: section `cf`.
    """
    now, old, first = factors.item_factors, previous.item_factors, anchor.item_factors
    shared = np.flatnonzero(now[: len(first)].any(axis=1) & first.any(axis=1))
    kept = np.flatnonzero(now[: len(old)].any(axis=1) & old.any(axis=1))
    counts = {"shared_items": len(shared), "new_items": int(now.any(axis=1).sum()) - len(kept)}
    if len(shared) < params.factors or not len(kept):
        why = f"{len(shared)} items are left that the anchor knows, fewer than a vector has numbers"
        return Drift("retrain", why, 1, factors.space_id, **counts)
    cosine = mean_cosine(now[shared], first[shared])
    overlap = neighbour_overlap(now[shared], first[shared], params.drift_neighbours)
    decision, reason = decide(cosine, overlap, params)
    return Drift(
        decision,
        reason,
        1 if decision == "retrain" else generation + 1,
        factors.space_id if decision == "retrain" else anchor.space_id,
        cosine,
        overlap,
        mean_cosine(now[kept], old[kept]),
        **counts,
    )


def decide(cosine: float, overlap: float, params: CfParams) -> tuple[Decision, str]:
    """The decision and why; both figures must reach a threshold."""
    said = f"cosine {cosine:.3f}, neighbours {overlap:.3f}"
    kinds: tuple[tuple[Decision, float, float], ...] = (
        ("reuse", params.reuse_cosine, params.reuse_overlap),
        ("refresh", params.refresh_cosine, params.refresh_overlap),
    )
    for decision, least_cosine, least_overlap in kinds:
        if cosine >= least_cosine and overlap >= least_overlap:
            return decision, f"{said}; {decision} from {least_cosine:g} and {least_overlap:g}"
    return "retrain", f"{said}; refresh would need {params.refresh_cosine:g} and {params.refresh_overlap:g}"


def save_drift(path: Path, drift: Drift) -> None:
    """Write drift.json."""
    write_json(path, asdict(drift))


def load_drift(path: Path) -> Drift:
    """Read drift.json.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    values: Any = read_json(path)
    try:
        drift = Drift(**values)
    except TypeError as error:
        raise ArtifactError(f"{path}: {error}. Run `dvc repro cf`.") from None
    if drift.decision not in get_args(Decision):
        raise ArtifactError(f"{path}: unknown decision {drift.decision!r}. Run `dvc repro cf`.")
    return drift
