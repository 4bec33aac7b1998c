"""A tiny Item-Language Model of each kind of encoder, in the folder that it is handed on in."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ilm.cf import factors as cf_factors
from ilm.model.bridge import Bridge
from ilm.model.encoders import MlpConfig, MlpEncoder, TextOnly, TextOnlyConfig, describe
from ilm.model.language_model import load_language_model
from ilm.model.qformer import QFormer, QFormerConfig
from ilm.model.storage import BridgeCard, save_bridge
from ilm.prompts.rendering import item_names
from ilm.serve.bundle import make_bundle
from tests.tiny import save_language_model

TITLES = [
    "Heat (1995)", "Ronin (1998)", "Heat (1986)", "Twin (1)", "Twin (1)", "Gone (2000)", "Matrix, The (1999)",
    "Matrix Reloaded, The (2003)",
]  # fmt: skip
GENRES = ["Action, Crime", "Action, Thriller", "Drama", None, "Drama", None, "Action, Sci-Fi", "Action, Sci-Fi"]
INACTIVE = 5
VALUES = {"hr_at_10": 0.25, "ndcg_at_10": 0.125}
TASKS = {task: {"filtered": VALUES} for task in ("sequential", "straightforward")}
INTERVALS = {"sequential": {"filtered": {name: {"low": 0.1, "high": 0.4} for name in VALUES}}}
DIFFERENCE = {"difference": 0.1, "low": 0.05, "high": 0.15, "p_value": 0.005, "p_holm": 0.01}
PAIRED = {"sequential": {"filtered": {"hr_at_10": DIFFERENCE}}}
EVALUATION = {
    "data": {"cases": 3, "split": "leave_one_out"},
    "systems": {"als": TASKS, "ilm": TASKS},
    "significance": {"intervals": {"ilm": INTERVALS}, "paired": {"ilm_minus_als": PAIRED}},
    "slices": {
        "user_activity": {"sequential": {"cold": {"users": 2, "systems": {"ilm": {"hr_at_10": 0.5}}}}},
        "recommendations": {"sequential": {"ilm": {"coverage_at_10": 0.5, "mean_popularity_at_10": 12.0}}},
    },
}
"""As step `evaluate` writes it, as far as a model card reads it."""
WIDTH = 4


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a Q-Former, before a tiny Llama."""
    return make_model(tmp_path_factory.mktemp("served"), "qformer")


def make_model(folder: Path, kind: str, architecture: str = "llama") -> Path:
    """The folder of a model at random with this encoder."""
    language_model = load_language_model(str(save_language_model(folder / "lm", architecture)))
    torch.manual_seed(0)
    encoder, names = _encoder(kind), None
    if kind == "text":
        names = item_names(language_model, TITLES, max_tokens=12)
    bridge = Bridge(encoder, language_model, len(TITLES), 1, item_embedding=True, item_names=names)
    for parameter in bridge.parameters():  # large enough for items to differ
        torch.nn.init.normal_(parameter, std=0.3)
    features = folder / "features"
    features.mkdir()
    space_id = _write_features(features)
    card = BridgeCard(
        space_id=space_id, language_model=language_model.name, language_model_sha256=language_model.sha256,
        items=len(TITLES), soft_tokens=1, item_embedding=True, item_context=True, max_history=4, recipe="none",
        encoder=describe(encoder), item_name_tokens=0 if names is None else names.shape[1],
    )  # fmt: skip
    save_bridge(folder / "model", bridge, card, [{"step": 0, "loss": 1.0}])
    make_bundle(folder / "bundle", features, folder / "model", EVALUATION, "Made up, for tests.")
    return folder / "bundle"


def _encoder(kind: str) -> QFormer | MlpEncoder | TextOnly:
    if kind == "mlp":
        return MlpEncoder(MlpConfig(WIDTH))
    if kind == "text":
        return TextOnly(TextOnlyConfig())
    config = QFormerConfig(
        hidden=16, heads=2, intermediate=32, vocabulary=10, max_positions=8, layer_norm_eps=1e-12, layers=2, queries=2,
        cf_width=WIDTH, cf_tokens=2, cross_attention_every=1,
    )  # fmt: skip
    return QFormer(config, text=False)


def _write_features(folder: Path) -> str:
    rng = np.random.default_rng(0)
    items, users = (rng.normal(size=(count, WIDTH)).astype(np.float32) for count in (len(TITLES), 2))
    factors = cf_factors.Factors(items, users, "0" * 16, "i", "u", 0.05, 10.0, iterations=1, seed=0)
    cf_factors.save(folder / "cf.safetensors", factors)
    number = len(TITLES)
    tables = {
        "catalogue": {
            "item_index": pa.array(range(number), pa.int32()),
            "item_id": [f"i{index}" for index in range(number)],
            "title": TITLES,
            "genres": GENRES,
            "active": [index != INACTIVE for index in range(number)],
        },
        "user_ids": {"user_index": pa.array([0, 1, 2], pa.int32()), "user_id": ["alice", "bob", "1"]},
        "sequences": {
            "user_index": pa.array([0, 0, 1, 2], pa.int32()),
            "item_index": pa.array([4, 2, 0, 0], pa.int32()),
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return factors.space_id
