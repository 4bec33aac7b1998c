"""`data/previous`: what an earlier generation left for this one to go on from. Empty: this is the first.

    user_ids.parquet, item_ids.parquet          id maps
    cf.safetensors, anchor.safetensors          its vectors, and those that began their space
    drift.json, params.yaml, encoder/, ilm/     its place in the space, its settings, its trained models

Each line needs those above it. `ilm retrain` fills the folder from the champion's files (flows/retrain_previous.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilm.errors import ArtifactError
from ilm.params import Params, load_params
from tasks.paths import ANCHOR, CF_FACTORS, DRIFT, FINETUNED, PRETRAINED, PREVIOUS

if TYPE_CHECKING:
    from ilm.cf.factors import Factors

SPACE = (CF_FACTORS.name, ANCHOR.name, DRIFT.name)
SETTINGS = "params.yaml"
MODELS = (SETTINGS, PRETRAINED.name, FINETUNED.name)


def read_space(n_items: int) -> "tuple[Factors, Factors] | None":
    """Vectors of the generation before, and its anchor's; None if there are none.

    Args:
        n_items: rows of today's item map, which goes on from the earlier one.

    Raises:
        ArtifactError: one is missing or damaged, or they do not belong together.
    """
    from ilm.cf.factors import load, require_space

    if not _all_there(SPACE):
        return None
    previous, anchor = load(PREVIOUS / CF_FACTORS.name), load(PREVIOUS / ANCHOR.name)
    require_space(previous, anchor.space_id, str(PREVIOUS / ANCHOR.name))
    rows = (len(anchor.item_factors), len(previous.item_factors), n_items)
    if list(rows) != sorted(rows):
        raise ArtifactError(
            f"{PREVIOUS}: vectors of {rows[1]:,} items and an anchor of {rows[0]:,}, but the item map has {n_items:,} "
            "rows now: they are not of one line of generations. Empty the folder, to begin anew."
        )
    return previous, anchor


def reusable(name: str, sections: Sequence[str], params: Params) -> Path | None:
    """A trained folder of the generation before, if drift allows to go on from it and it was made by equal settings.

    Args:
        name: of the folder.
        sections: dotted names of the settings that shape what is in it.
        params: today's.

    Raises:
        ArtifactError: drift.json is missing or damaged, or the earlier generation is not complete.
    """
    from ilm.cf.drift import load_drift

    drift = load_drift(DRIFT)
    if drift.decision not in ("reuse", "refresh") or not _all_there(MODELS):
        return None
    earlier = load_params(PREVIOUS / SETTINGS)
    changed = [section for section in sections if _value(earlier, section) != _value(params, section)]
    if changed:
        print(f"{name}  not gone on from the earlier one: settings changed in {', '.join(changed)}", flush=True)
        return None
    return PREVIOUS / name


def _value(params: Params, dotted: str) -> object:
    found: object = params
    for part in dotted.split("."):
        found = getattr(found, part)
    return found


def _all_there(names: Sequence[str]) -> bool:
    there = [name for name in names if (PREVIOUS / name).exists()]
    if there and len(there) < len(names):
        missing = ", ".join(str(PREVIOUS / name) for name in names if name not in there)
        raise ArtifactError(f"{missing}: not found, although {there[0]} is there. Restore it, or empty the folder.")
    return bool(there)
