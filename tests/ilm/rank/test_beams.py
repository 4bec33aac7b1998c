"""Beams: only names of the catalogue, the same as transformers' beam search, and exact when they are wide enough."""

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ilm.errors import ConfigError
from ilm.rank.beams import beam_search
from ilm.rank.exact import score_items
from ilm.rank.prompt_cache import PromptCache
from ilm.rank.trie import build_trie
from tests.ilm.rank.conftest import END, plain_log_likelihoods, random_prompts

CHANCE = random.Random(0)
NAMES = [[*(CHANCE.randint(1, 6) for _ in range(CHANCE.randint(0, 8))), END] for _ in range(60)]
SAME_MODELS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def item_lists(trie, found):
    """Per prompt: [(item, score)] in the order found."""
    lists = []
    for leaves, scores in zip(found.leaves, found.scores, strict=True):
        which, items = trie.items_of(leaves[leaves >= 0])
        lists.append(list(zip(items.tolist(), scores[which].tolist(), strict=True)))
    return lists


@given(
    names=st.lists(st.lists(st.integers(1, 4), max_size=5).map(lambda n: [*n, END]), min_size=1, max_size=20),
    width=st.integers(1, 25),
    hidden=st.integers(0, 2**20 - 1),
)
@SAME_MODELS
def test_what_is_found_is_in_the_catalogue_not_excluded_truly_scored_and_as_much_as_there_is(
    prompts, names, width, hidden
):
    trie = build_trie(names, END)
    excluded = torch.tensor([[bool(hidden >> item & 1) for item in range(len(names))]] * prompts.batch)
    found = beam_search(prompts, trie, width, excluded)
    allowed = {tuple(name) for name, out in zip(names, excluded[0].tolist(), strict=True) if not out}
    expected = score_items(prompts, trie)
    assert ((found.leaves >= 0).sum(dim=1) == min(width, len(allowed))).all()
    for row, listed in enumerate(item_lists(trie, found)):
        assert {tuple(names[item]) for item, _ in listed} <= allowed
        scores = [score for _, score in listed]
        assert scores == sorted(scores, reverse=True)
        torch.testing.assert_close(torch.tensor(scores), expected[row, [item for item, _ in listed]], atol=1e-4, rtol=0)


@pytest.mark.parametrize("width", [60, 200])
def test_with_as_many_beams_as_names_the_ranking_is_the_brute_force_one(language_model, prompts, width):
    trie = build_trie(NAMES, END)
    expected = plain_log_likelihoods(language_model, NAMES, *random_prompts(language_model))
    for row, listed in enumerate(item_lists(trie, beam_search(prompts, trie, width))):
        assert sorted(item for item, _ in listed) == list(range(len(NAMES)))
        found = torch.tensor([score for _, score in listed])
        torch.testing.assert_close(found, expected[row, [item for item, _ in listed]], atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(found, expected[row].sort(descending=True).values, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("width", [1, 3, 8])
def test_narrow_beams_find_what_transformers_finds_with_a_python_trie(language_model, prompts, width):
    trie, model = build_trie(NAMES, END), language_model.model
    embeddings, mask = random_prompts(language_model)
    found = beam_search(prompts, trie, width)

    def allowed(_, said):
        said = said.tolist()
        return [name[len(said)] for name in NAMES if name[: len(said)] == said and len(name) > len(said)] or [END]

    for row, (prompt, kept) in enumerate(zip(embeddings, mask, strict=True)):
        said = model.generate(
            inputs_embeds=prompt[kept][None], attention_mask=torch.ones(1, int(kept.sum()), dtype=torch.int64),
            prefix_allowed_tokens_fn=allowed, num_beams=width, num_return_sequences=width, do_sample=False,
            max_new_tokens=trie.longest, length_penalty=0.0, early_stopping="never" if width > 1 else False,
            eos_token_id=END, pad_token_id=END,
        )  # fmt: skip
        theirs = [name[: name.index(END) + 1] for name in said.tolist()]
        which, items = trie.items_of(found.leaves[row])
        ours = [NAMES[items[which == place][0]] for place in range(width)]
        assert ours == theirs


def test_a_batch_finds_what_its_prompts_find_one_at_a_time(language_model, prompts):
    trie = build_trie(NAMES, END)
    together = beam_search(prompts, trie, 6)
    for row, (embeddings, kept) in enumerate(zip(*random_prompts(language_model), strict=True)):
        alone = beam_search(PromptCache(language_model, embeddings[kept][None], kept[kept][None]), trie, 6)
        assert torch.equal(alone.leaves[0], together.leaves[row])
        torch.testing.assert_close(alone.scores[0], together.scores[row], atol=1e-4, rtol=1e-5)


def test_excluding_items_searches_as_without_them(prompts):
    kept = [item for item in range(len(NAMES)) if item % 3]
    smaller, trie = build_trie([NAMES[item] for item in kept], END), build_trie(NAMES, END)
    excluded = (torch.arange(len(NAMES)) % 3 == 0).expand(prompts.batch, -1)
    with_mask = item_lists(trie, beam_search(prompts, trie, 5, excluded))
    without = item_lists(smaller, beam_search(prompts, smaller, 5))
    for masked, plain in zip(with_mask, without, strict=True):
        named = dict.fromkeys((tuple(NAMES[item]), round(score, 3)) for item, score in masked)
        assert named == dict.fromkeys((tuple(NAMES[kept[item]]), round(score, 3)) for item, score in plain)


def test_a_search_leaves_the_prompts_as_they_were(prompts):
    trie = build_trie(NAMES, END)
    first = beam_search(prompts, trie, 4)
    again = beam_search(prompts, trie, 4)
    assert torch.equal(first.scores, again.scores)


def test_names_beyond_a_sliding_attention_window_are_refused(language_model, prompts, monkeypatch):
    trie = build_trie([[3, END], [4, 5, END]], END)
    monkeypatch.setattr(language_model.model.config, "sliding_window", 9, raising=False)
    beam_search(prompts, trie, 2)
    monkeypatch.setattr(language_model.model.config, "sliding_window", 8)
    with pytest.raises(ConfigError, match="attention window of 8 tokens"):
        beam_search(prompts, trie, 2)


def test_items_of_the_same_name_are_found_together(prompts):
    trie = build_trie([[3, END], [4, END], [3, END]], END)
    assert {item for item, _ in item_lists(trie, beam_search(prompts, trie, 2))[0]} == {0, 1, 2}


def test_of_a_single_item_nothing_else_is_found(prompts):
    found = beam_search(prompts, build_trie([[5, 6, END]], END), 3)
    assert (found.leaves == torch.tensor([3, -1, -1])).all()
    assert found.scores[:, 1:].eq(-torch.inf).all()


def test_where_all_is_excluded_nothing_is_found(prompts):
    trie = build_trie([[5, END], [6, END]], END)
    assert (beam_search(prompts, trie, 2, torch.ones(prompts.batch, 2, dtype=torch.bool)).leaves == -1).all()
