"""What ELM-24 reads of a run: the catalogue, its CF vectors, and which items are held out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilm.cf import factors as cf_factors
from ilm.prompts.attributes import read_attributes
from ilm.prompts.material import Material
from ilm.train.held_out import split_material


@dataclass(frozen=True)
class ElmFeatures:
    """CF vectors, and the catalogue as material to learn from and to be judged by: parted as in stage 2."""

    factors: cf_factors.Factors
    training: Material
    held_out: Material


def read_features(folder: Path, finetuning: Mapping[str, Any]) -> ElmFeatures:
    """Read `cf.safetensors` and `catalogue.parquet`.

    Args:
        folder: with what the steps `split` and `cf` wrote.
        finetuning: the settings of section `finetune`, of which `held_out_fraction` and `seed` decide what is held out.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    factors = cf_factors.load(folder / "cf.safetensors")
    known = read_attributes(folder / "catalogue.parquet")
    nobody = np.zeros(len(known.titles), np.int64)  # ELM-24 asks nothing about who chose what
    training, held_out = split_material(
        known, factors.item_factors, nobody, {}, {}, 0, finetuning["held_out_fraction"], finetuning["seed"]
    )
    return ElmFeatures(factors, training, held_out)
