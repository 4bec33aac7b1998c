"""A toy world for training: two blocks of users and items, CF vectors that know the blocks, tiny models."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
import torch

from ilm.cf.fold_in import UserFoldIn
from ilm.model.bridge import Bridge
from ilm.model.language_model import load_language_model
from ilm.model.qformer import QFormer, QFormerConfig
from ilm.params import FinetuneParams, ModelParams, PretrainParams
from ilm.prompts.attributes import attributes
from ilm.prompts.material import Choices, Histories
from ilm.train.held_out import split_material
from ilm.train.stage1 import Stage1Data
from ilm.train.stage2 import Stage2Data
from tests.tiny import save_language_model, save_text_encoder

ITEMS, USERS, WIDTH = 12, 20, 4
TITLES = [f"{'comedy' if item % 2 == 0 else 'horror'} {item}" for item in range(ITEMS)]


@pytest.fixture(scope="session")
def language_model_folder(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def text_encoder_folder(tmp_path_factory):
    return save_text_encoder(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def item_factors():
    rng = np.random.default_rng(0)
    factors = rng.normal(scale=0.5, size=(ITEMS, WIDTH))
    factors[::2, 0] += 1
    factors[1::2, 1] += 1
    return factors.astype(np.float32)


@pytest.fixture
def histories():
    """Each user walks through one block of items, in index order from a start of their own."""
    block = np.arange(0, ITEMS, 2)
    return [np.roll(block, -user // 2)[:5].astype(np.int32) + np.int32(user % 2) for user in range(USERS)]


@pytest.fixture
def stage1_data(item_factors, histories):
    pairs = np.array([(a, b) for history in histories for a, b in itertools.pairwise(history)], np.int32)
    user_item = np.array([(user, item) for user, history in enumerate(histories) for item in history], np.int32)
    user_factors = np.stack([item_factors[history].mean(axis=0) for history in histories])
    return Stage1Data(item_factors, user_factors, np.arange(ITEMS, dtype=np.int32), TITLES, pairs, user_item)


@pytest.fixture
def stage2_data(item_factors, histories):
    choices = Choices(
        Histories.of([history[:-1] for history in histories]), np.array([h[-1] for h in histories], np.int32)
    )
    both = {"sequential": choices, "straightforward": choices}
    catalogue = pa.table({"item_index": range(ITEMS), "title": TITLES, "active": [True] * ITEMS})
    popularity = np.bincount(np.concatenate(histories), minlength=ITEMS)
    material, held_out = split_material(attributes(catalogue), item_factors, popularity, both, both, 4, 0.25, seed=0)
    return Stage2Data(material, held_out, UserFoldIn(item_factors, regularization=0.05, alpha=10.0))


@pytest.fixture
def model_params(text_encoder_folder, language_model_folder):
    return ModelParams(
        text_encoder=str(text_encoder_folder), llm=str(language_model_folder), layers=2, queries=2, cf_tokens=2
    )


@pytest.fixture
def pretrain_params():
    return PretrainParams(
        steps=12, batch_size=6, paired_rows=3, interaction_batch_size=8, warmup=2, checkpoint_every=4,
        held_out_fraction=0.5, max_text_tokens=16, learning_rate=1e-3,
    )  # fmt: skip


@pytest.fixture
def finetune_params():
    return FinetuneParams(
        steps=12,
        step_tokens=150,
        mixture={"sequential": 3, "straightforward": 2, "title": 1},
        warmup=2,
        checkpoint_every=4,
        learning_rate=1e-2,
        head_learning_rate=1e-2,
        context_epochs=2,
        context_batch_size=4,
        max_answer_tokens=12,
    )


def build_bridge(language_model_folder, soft_tokens=1):
    language_model = load_language_model(str(language_model_folder))
    torch.manual_seed(0)
    config = QFormerConfig(
        hidden=16, heads=2, intermediate=32, vocabulary=10, max_positions=8, layer_norm_eps=1e-12, layers=2, queries=2,
        cf_width=WIDTH, cf_tokens=2, cross_attention_every=1,
    )  # fmt: skip
    model = Bridge(QFormer(config, text=False), language_model, ITEMS, soft_tokens, item_embedding=True)
    for name, parameter in model.encoder.named_parameters():
        if "cross_attention" in name and parameter.ndim == 2:
            torch.nn.init.normal_(
                parameter, std=0.25
            )  # 0.02 is for widths of hundreds: at 16 all items would look alike
    return model


@pytest.fixture
def ilm(language_model_folder):
    return build_bridge(language_model_folder)
