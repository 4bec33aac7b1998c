"""An Item-Language Model that has learned nothing: speed does not depend on what the weights say."""

import numpy as np
import torch

from ilm.cf.factors import Factors
from ilm.model.bridge import Bridge
from ilm.model.encoders import describe
from ilm.model.language_model import load_language_model
from ilm.model.qformer import QFormer, QFormerConfig
from ilm.model.storage import BridgeCard

CF_WIDTH, SPACE = 64, "0" * 16


def untrained(llm: str, items: int, max_history: int) -> tuple[Bridge, BridgeCard, Factors]:
    """A random Q-Former (3 layers of width 384, 4 queries) and head before a language model, with random CF vectors."""
    torch.manual_seed(0)
    config = QFormerConfig(
        hidden=384, heads=12, intermediate=1536, vocabulary=8, max_positions=8, layer_norm_eps=1e-12, layers=3,
        queries=4, cf_width=CF_WIDTH, cf_tokens=4, cross_attention_every=1,
    )  # fmt: skip
    language_model = load_language_model(llm)
    model = Bridge(QFormer(config, text=False), language_model, items, soft_tokens=1, item_embedding=True).eval()
    vectors = np.random.default_rng(0).normal(size=(items, CF_WIDTH)).astype(np.float32)
    factors = Factors(vectors, vectors[:1], SPACE, "i", "u", regularization=0.05, alpha=10.0, iterations=1, seed=0)
    model.calibrate_items(model.encode_all(torch.from_numpy(vectors)), torch.from_numpy(vectors).any(dim=1))
    card = BridgeCard(
        space_id=SPACE, language_model=llm, language_model_sha256=language_model.sha256, items=items, soft_tokens=1,
        item_embedding=True, item_context=True, max_history=max_history, recipe="none", encoder=describe(model.encoder),
    )  # fmt: skip
    return model, card, factors


def histories(users: int, items: int, length: int) -> list[np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """Random histories, one per user."""
    rng = np.random.default_rng(1)
    return [rng.choice(items, length, replace=False).astype(np.int32) for _ in range(users)]
