"""Exact log-likelihoods of items' names: the reference for beams, and a second opinion on a short list."""

import torch
from torch import Tensor

from ilm.rank.prompt_cache import PromptCache
from ilm.rank.trie import Trie

_NAMES_AT_ONCE = 128
"""Names per forward and prompt; names that follow each other in the trie's order share their prefixes."""


@torch.no_grad()
def score_items(prompts: PromptCache, trie: Trie, candidates: Tensor | None = None) -> Tensor:
    """Sums of log p(token | prompt, earlier tokens) over each item's name, end token included.

    The softmax is over the full vocabulary. A prefix that several names share is computed once per forward.

    Args:
        prompts: b prompts; what is appended to them is dropped again.
        trie: all names.
        candidates: [b, m] items to score for each prompt; None scores all.

    Returns:
        [b, m], or [b, n_items] for all items.
    """
    if candidates is not None:
        return torch.cat([_score(prompts, trie, part) for part in trie.leaves[candidates].split(_NAMES_AT_ONCE, 1)], 1)
    leaves, name = torch.unique_consecutive(trie.leaves[trie.order], return_inverse=True)
    by_name = torch.cat([_score(prompts, trie, part[None]) for part in leaves.split(_NAMES_AT_ONCE)], dim=1)
    scores = by_name.new_empty(len(by_name), trie.items)
    scores[:, trie.order] = by_name[:, name]
    return scores


def _score(prompts: PromptCache, trie: Trie, leaves: Tensor) -> Tensor:
    """Scores [b, m] of the names `leaves`, [b, m] or, the same for all prompts, [1, m]."""
    nodes, parent_slots, visible = _prefixes(trie, leaves)  # [r, t], slot 0 is the root
    count = nodes.shape[1]
    if count > 1:
        new = nodes[:, 1:].expand(prompts.batch, -1)
        appended = prompts.append(trie.tokens[new], trie.depths[new], visible[:, 1:, 1:].expand(prompts.batch, -1, -1))
        prompts.forget()
        states = torch.cat([prompts.answer_states[:, None], appended], dim=1)  # [b, t, w]
    else:
        states = prompts.answer_states[:, None]
    leaf_parents = torch.searchsorted(nodes, trie.parents[leaves])  # slots
    steps = torch.cat([nodes, leaves], dim=1).expand(prompts.batch, -1)
    at = torch.cat([parent_slots, leaf_parents], dim=1).expand(prompts.batch, -1)
    rows = (at + count * torch.arange(prompts.batch, device=at.device)[:, None]).flatten()
    log_probs = prompts.log_probs(states.flatten(0, 1), rows, trie.tokens[steps].flatten()).view(at.shape)  # [b, t + m]
    log_probs[:, 0] = 0.0  # the root is no token
    prefix_scores = (visible.expand(prompts.batch, -1, -1).to(log_probs.dtype) @ log_probs[:, :count, None])[..., 0]
    return prefix_scores.gather(1, leaf_parents.expand(prompts.batch, -1)) + log_probs[:, count:]


def _prefixes(trie: Trie, leaves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All prefixes of the names [r, m], once each, parents before children.

    Returns:
        `nodes` [r, t] ascending, slot 0 the root; the trie's last node (a leaf, so no prefix) fills the rest;
        `parent_slots` [r, t]; `visible` bool [r, t, t]: slot j is an ancestor of slot i, or i itself.
    """
    filler = len(trie.tokens) - 1
    above = trie.paths(trie.parents[leaves]).flatten(1).sort(dim=1).values  # [r, m * (longest + 1)], with the root
    repeated = torch.zeros_like(above, dtype=torch.bool)
    repeated[:, 1:] = above[:, 1:] == above[:, :-1]
    nodes = above.masked_fill(repeated, filler).sort(dim=1).values
    nodes = nodes[:, : int((~repeated).sum(dim=1).max())].contiguous()
    parent_slots = torch.searchsorted(nodes, trie.parents[nodes]).clamp(max=nodes.shape[1] - 1)
    slots = torch.arange(nodes.shape[1], device=nodes.device).expand_as(nodes)
    visible = torch.zeros(*nodes.shape, nodes.shape[1], dtype=torch.bool, device=nodes.device)
    for _ in range(trie.longest):
        visible.scatter_(2, slots[..., None], True)
        slots = parent_slots.gather(1, slots)
    return nodes, parent_slots, visible
