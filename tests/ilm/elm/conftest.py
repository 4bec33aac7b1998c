"""A tiny project with a third of its items held out, what ELM-24 reads of it, and tiny models."""

from pathlib import Path

import pytest
import torch

from ilm.elm.features import ElmFeatures, read_features
from ilm.elm.speaker import Speaker
from ilm.model.bridge import Bridge
from ilm.model.language_model import LanguageModel, load_language_model
from ilm.model.qformer import QFormer, QFormerConfig
from ilm.params import ElmParams
from ilm.train.settings import Settings, read_settings
from tasks.export import export_features
from tests.tiny import save_language_model
from tests.tiny_project import ITEMS, WIDTH, write_project

ELM = {
    "items": 3, "held_out_items": 3, "max_answer_tokens": 12, "steps": 4, "batch_size": 4, "warmup": 1,
    "learning_rate": 1e-2, "encoder_learning_rate": 1e-3, "checkpoint_every": 2,
}  # fmt: skip


@pytest.fixture(scope="session")
def elm_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("elm") / "project", elm=ELM, finetune={"held_out_fraction": 0.34})


@pytest.fixture(scope="session")
def features(elm_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "features"
    export_features(elm_project, folder)
    return folder


@pytest.fixture
def settings(features: Path, elm_project: Path) -> Settings:
    settings = read_settings(features, [])
    settings["elm"] |= {
        "teacher_model": str(elm_project / "llama"),
        "sentence_encoder": str(elm_project / "bert"),
    }
    return settings


@pytest.fixture
def elm_params(settings: Settings) -> ElmParams:
    return ElmParams(**settings["elm"])


@pytest.fixture
def read(features: Path, settings: Settings) -> ElmFeatures:
    return read_features(features, settings["finetune"])


@pytest.fixture(scope="session")
def llama(elm_project: Path) -> LanguageModel:
    return load_language_model(str(elm_project / "llama"))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_language_model(str(save_language_model(tmp_path_factory.mktemp("gpt2") / "gpt2", "gpt2")))


@pytest.fixture
def speaker(llama: LanguageModel, read: ElmFeatures) -> Speaker:
    """A random Q-Former before the tiny language model."""
    torch.manual_seed(0)
    config = QFormerConfig(
        hidden=16, heads=2, intermediate=32, vocabulary=8, max_positions=8, layer_norm_eps=1e-12, layers=2, queries=2,
        cf_width=WIDTH, cf_tokens=2, cross_attention_every=1,
    )  # fmt: skip
    model = Bridge(QFormer(config, text=False), llama, ITEMS, soft_tokens=2, item_embedding=False, item_context=False)
    factors = torch.from_numpy(read.factors.item_factors)
    model.calibrate_items(model.encode_all(factors), factors.any(dim=1))
    return Speaker(model.eval(), factors, max_tokens=12)
