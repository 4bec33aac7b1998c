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
from ilm.prompts.example import Example, Item, Turn
from ilm.rank.beams import beam_search
from ilm.rank.names import name_tokens
from ilm.rank.prompt_cache import PromptCache
from ilm.rank.prompting import PromptBuilder, soft_tokens
from ilm.rank.trie import Trie, build_trie

_SYLLABLES = "ba be bo da de di do fa ga go ka ki ko la le li lo ma mi mo na ne ni no pa ra re ri ro sa se so ta ti vo"


def run(
    llm: str = "smollm2-135m-instruct",
    items: int = 12_000,
    users: int = 4,
    beams: int = 30,
    history: int = 20,
    search_users: int = 16,
    repetitions: int = 3,
) -> Result:
    """Seconds of generate / seconds of ours, from the prompts' embeddings to the names; both must find the same names.

    The ratio is for prompts in which the history's items stand with their titles, as in conversations: what generate
    reads once per beam, we read once. Its 30 beams are what ten unseen items take, behind a history of 20, where beams
    cannot leave out seen ones (as in OpenP5). `detail` has it also for prompts of soft tokens alone, and, with
    `search_users`, for these before a language model that costs next to nothing (one layer of width 16, the same
    vocabulary): the search itself.
    """
    model, card, factors = untrained(llm, items, history)
    language_model, titles = model.language_model, made_up_titles(items)
    names = name_tokens(language_model, titles)
    trie = build_trie(names, language_model.tokenizer.eos_token_id)
    builder = PromptBuilder(model, card, factors, soft_tokens(model, card, factors))
    shown = histories(users, items, history)
    titled = _compare(language_model, names, trie, *builder([_titled(h, titles) for h in shown]), beams, repetitions)
    embeddings, mask = builder(builder.recommendations("sequential", shown))
    detail: dict[str, Any] = {
        "titles_in_the_prompt": titled,
        "soft_tokens_alone": _compare(language_model, names, trie, embeddings, mask, beams, repetitions),
        "search_only": _compare(
            _next_to_nothing(language_model), names, trie, torch.randn(search_users, mask.shape[1], 16),
            mask[:1].expand(search_users, -1), beams, repetitions,
        ),
        "llm": llm, "items": items, "beams": beams, "name_tokens": np.mean([*map(len, names)]),
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    return {"name": "trie_beams", "ratio": titled["ratio"], "goal": ">= 10", "detail": detail}


def _titled(history: np.ndarray[tuple[int], np.dtype[np.int32]], titles: list[str]) -> Example:
    pieces = [piece for item in history for piece in (Item(int(item)), f" {titles[item]},")]
    return Example((Turn(("Watched:", *pieces, " and next")),), history, chat=False)


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
) -> dict[str, Any]:
    """Ratio, seconds, the prompts' size, and for how many of them the lists are the same, as "8 of 8"."""
    generate = generate_with_dicts(language_model, names, trie.longest, beams)
    left = _left_padded(embeddings, mask)
    seconds = interleaved(
        {
            "generate": lambda: generate(*left),
            "ours": lambda: beam_search(PromptCache(language_model, embeddings, mask), trie, beams),
        },
        repetitions,
    )
    end = language_model.tokenizer.eos_token_id
    theirs = [name[: name.index(end) + 1] for name in generate(*left).tolist()]
    found = beam_search(PromptCache(language_model, embeddings, mask), trie, beams)
    ours = [names[trie.order[trie.first_item[leaf]]] for leaf in found.leaves.flatten().tolist()]
    same = sum(ours[row * beams :][:beams] == theirs[row * beams :][:beams] for row in range(len(mask)))
    return {
        "ratio": seconds["generate"] / seconds["ours"], "seconds": seconds, "users": len(mask),
        "prompt_tokens": float(mask.sum(dim=1).float().mean()), "same_lists": f"{same} of {len(mask)}",
    }  # fmt: skip


def _left_padded(embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same prompts with their padding in front, as generate wants it."""
    shifts = (mask.shape[1] - mask.sum(dim=1)).tolist()
    rows = range(len(mask))
    return (
        torch.stack([embeddings[row].roll(shifts[row], dims=0) for row in rows]),
        torch.stack([mask[row].roll(shifts[row]) for row in rows]),
    )


def _next_to_nothing(language_model: LanguageModel) -> LanguageModel:
    """The same tokens before a language model of one layer of width 16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=language_model.model.config.vocab_size, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, max_position_embeddings=2048, initializer_range=0.2,
    )  # fmt: skip
    return replace(language_model, model=LlamaForCausalLM(config).eval().requires_grad_(False))
