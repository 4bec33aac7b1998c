"""Trie-constrained beams, against `generate(prefix_allowed_tokens_fn=...)` with a trie of Python dicts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import Result, interleaved
from benchmarks.untrained import histories, untrained
from ilm.model.language_model import LanguageModel
from ilm.rank.beams import beam_search
from ilm.rank.names import title_names
from ilm.rank.prompt_cache import PromptCache
from ilm.rank.prompting import PromptBuilder, encode_catalogue
from ilm.rank.trie import Trie, build_trie

_SYLLABLES = "ba be bo da de di do fa ga go ka ki ko la le li lo ma mi mo na ne ni no pa ra re ri ro sa se so ta ti vo"


def run(
    llm: str = "smollm2-135m-instruct",
    items: int = 12_000,
    users: int = 8,
    beams: int = 20,
    history: int = 20,
    search_users: int = 32,
    repetitions: int = 5,
) -> Result:
    """Seconds of generate / seconds of ours, from the prompts' embeddings to the names; both must find the same names.

    `detail` has the ratio also for one user, and, with `search_users`, for a language model that costs next to nothing
    (one layer of width 16, the same vocabulary): what is left is the search itself.
    """
    model, card, factors = untrained(llm, items, history)
    language_model = model.language_model
    names = title_names(language_model, made_up_titles(items))
    trie = build_trie(names, language_model.tokenizer.eos_token_id)
    builder = PromptBuilder(model, card, factors, encode_catalogue(model, card, factors))
    examples = builder.recommendations("sequential", histories(users, items, history))
    embeddings, mask = builder(examples)
    ratio, seconds, same = _compare(language_model, names, trie, embeddings, mask, beams, repetitions)
    for_one, seconds_for_one, same_for_one = _compare(
        language_model, names, trie, embeddings[:1], mask[:1], beams, repetitions
    )
    search_only, seconds_of_search, _ = _compare(
        _next_to_nothing(language_model),
        names,
        trie,
        torch.randn(search_users, mask.shape[1], 16),
        mask[:1].expand(search_users, -1),
        beams,
        repetitions,
    )
    detail: dict[str, Any] = {
        "seconds": seconds, "same_lists": same, "one_user": {"ratio": for_one, "seconds": seconds_for_one},
        "same_list_for_one_user": same_for_one,
        "search_only": {"ratio": search_only, "seconds": seconds_of_search, "users": search_users},
        "llm": llm, "items": items, "users": users, "beams": beams,
        "prompt_tokens": mask.shape[1], "name_tokens": np.mean([*map(len, names)]),
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    return {"name": "trie_beams", "ratio": ratio, "goal": ">= 10", "detail": detail}


def made_up_titles(count: int) -> list[str]:
    """Distinct titles as "The Kalimo Nateri (1987)": one to three words of a vocabulary of 3,000 with a long tail.

    With SmolLM2's tokenizer a name has 11.7 tokens on average, its end included; MovieLens titles have 12.2.
    """
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(_SYLLABLES.split(), rng.integers(2, 4))).capitalize() for _ in range(3000)]
    weights = np.arange(1, 3001) ** -0.6
    titles: dict[str, None] = {}
    while len(titles) < count:
        chosen = rng.choice(words, rng.integers(1, 4), p=weights / weights.sum())
        article = "The " if rng.random() < 0.25 else ""
        titles[f"{article}{' '.join(chosen)} ({rng.integers(1930, 2020)})"] = None
    return list(titles)


def generate_with_dicts(
    language_model: LanguageModel, names: list[list[int]], longest: int, beams: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """(embeddings [b, l, w], mask [b, l]) -> token ids [b * beams, t] by transformers, nothing but names allowed."""
    end = language_model.tokenizer.eos_token_id
    root: dict[int, Any] = {}
    for name in names:
        node = root
        for token in name:
            node = node.setdefault(token, {})

    def allowed(_: int, said: Tensor) -> list[int]:
        node = root
        for token in said.tolist():
            node = node.get(token, {})
        return list(node) or [end]

    @torch.no_grad()
    def generate(embeddings: Tensor, mask: Tensor) -> Tensor:
        said: Tensor = language_model.model.generate(
            inputs_embeds=embeddings, attention_mask=mask.long(), prefix_allowed_tokens_fn=allowed, num_beams=beams,
            num_return_sequences=beams, do_sample=False, max_new_tokens=longest, length_penalty=0.0,
            early_stopping="never", eos_token_id=end, pad_token_id=end,
        )  # fmt: skip
        return said

    return generate


def _compare(
    language_model: LanguageModel,
    names: list[list[int]],
    trie: Trie,
    embeddings: Tensor,
    mask: Tensor,
    beams: int,
    repetitions: int,
) -> tuple[float, dict[str, float], str]:
    """Ratio, seconds, and for how many prompts the lists are the same, as "8 of 8"."""
    assert mask.all(), "generate wants padding on the left; these prompts are of one length"
    generate = generate_with_dicts(language_model, names, trie.longest, beams)
    seconds = interleaved(
        {
            "generate": lambda: generate(embeddings, mask),
            "ours": lambda: beam_search(PromptCache(language_model, embeddings, mask), trie, beams),
        },
        repetitions,
    )
    end = language_model.tokenizer.eos_token_id
    theirs = [name[: name.index(end) + 1] for name in generate(embeddings, mask).tolist()]
    found = beam_search(PromptCache(language_model, embeddings, mask), trie, beams)
    ours = [names[trie.order[trie.first_item[leaf]]] for leaf in found.leaves.flatten().tolist()]
    same = sum(ours[row * beams :][:beams] == theirs[row * beams :][:beams] for row in range(len(mask)))
    return seconds["generate"] / seconds["ours"], seconds, f"{same} of {len(mask)}"


def _next_to_nothing(language_model: LanguageModel) -> LanguageModel:
    """The same tokens before a language model of one layer of width 16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=language_model.model.config.vocab_size, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, max_position_embeddings=2048, initializer_range=0.2,
    )  # fmt: skip
    return replace(language_model, model=LlamaForCausalLM(config).eval().requires_grad_(False))
