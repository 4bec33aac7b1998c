"""Exact scores: what one plain forward per prompt and name gives, on two architectures, padded or not."""

import random

import torch

from ilm.rank import exact, prompt_cache
from ilm.rank.prompt_cache import PromptCache
from ilm.rank.trie import build_trie
from tests.ilm.rank.conftest import END, plain_log_likelihoods, random_prompts

CHANCE = random.Random(0)
NAMES = [[*(CHANCE.randint(1, 4) for _ in range(CHANCE.randint(0, 5))), END] for _ in range(30)]


def test_all_items_score_as_by_one_forward_each(language_model, prompts):
    expected = plain_log_likelihoods(language_model, NAMES, *random_prompts(language_model))
    torch.testing.assert_close(exact.score_items(prompts, build_trie(NAMES, END)), expected, atol=1e-4, rtol=1e-5)


def test_the_size_of_the_parts_does_not_matter(prompts, monkeypatch):
    trie = build_trie(NAMES, END)
    whole = exact.score_items(prompts, trie)
    monkeypatch.setattr(exact, "_NAMES_AT_ONCE", 4)
    monkeypatch.setattr(prompt_cache, "_STATES_AT_ONCE", 5)
    torch.testing.assert_close(exact.score_items(prompts, trie), whole, atol=1e-4, rtol=1e-5)


def test_candidates_of_each_prompt_score_as_among_all(prompts):
    trie = build_trie(NAMES, END)
    candidates = torch.tensor([[3, 5, 5, 0], [29, 28, 1, 0], [7, 7, 7, 7]])
    expected = exact.score_items(prompts, trie).gather(1, candidates)
    torch.testing.assert_close(exact.score_items(prompts, trie, candidates), expected, atol=1e-4, rtol=1e-5)


def test_a_single_item_whose_name_is_only_the_end(language_model, prompts):
    expected = plain_log_likelihoods(language_model, [[END]], *random_prompts(language_model))
    torch.testing.assert_close(exact.score_items(prompts, build_trie([[END]], END)), expected, atol=1e-4, rtol=1e-5)


def test_a_batch_scores_as_its_prompts_one_at_a_time(language_model, prompts):
    trie = build_trie(NAMES, END)
    embeddings, mask = random_prompts(language_model)
    alone = [
        exact.score_items(PromptCache(language_model, row[kept][None], kept[kept][None]), trie)
        for row, kept in zip(embeddings, mask, strict=True)
    ]
    torch.testing.assert_close(exact.score_items(prompts, trie), torch.cat(alone), atol=1e-4, rtol=1e-5)
