"""Trie-constrained beam search: the most likely names of a catalogue for a batch of prompts.

A name's score is the sum of log p(token | prompt, earlier tokens), each under the softmax of the *full* vocabulary, end
token included, without length penalty: the log-likelihood that `ilm.rank.exact` computes for every item. The rule of
the search is that of transformers (`early_stopping="never"`, `length_penalty=0`), and none of a language model's own
generation defaults apply: `generate` is not called. The only loop is over token depth.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ilm.rank.prompt_cache import PromptCache
from ilm.rank.trie import Trie

_NEVER = -torch.inf


@dataclass(frozen=True)
class FoundNames:
    """Names per prompt, most likely first. `leaves` [b, k] (-1 where fewer were found), `scores` [b, k] (then -inf)."""

    leaves: Tensor
    scores: Tensor


@torch.no_grad()
def beam_search(prompts: PromptCache, trie: Trie, beams: int, excluded: Tensor | None = None) -> FoundNames:
    """Search the `beams` most likely names for each prompt.

    At each depth the `beams` best unfinished prefixes go on; a full name counts if it is among the `beams` best
    candidates of its depth. With at least as many beams as names this finds all of them. In any case min(beams, names
    that are not excluded) names are found.

    Args:
        prompts: b prompts; what is appended to them is dropped again.
        trie: all names.
        beams: k, width of the search and number of names returned.
        excluded: bool [b, n_items], items that must not be found. A name is left out if all of its items are excluded,
            and so is a prefix below which nothing else is: the search runs as on a trie without them, no wider.
    """
    batch, device = prompts.batch, prompts.answer_states.device
    excluded_before = _excluded_before(trie, excluded)
    found = FoundNames(torch.full((batch, beams), -1, device=device), torch.full((batch, beams), _NEVER, device=device))
    nodes = torch.zeros(batch, 1, dtype=torch.int64, device=device)
    scores = torch.zeros(batch, 1, device=device)
    visible = torch.zeros(batch, 1, 0, dtype=torch.bool, device=device)  # the appended tokens of each beam's prefix
    states = prompts.answer_states[:, None]
    for depth in range(1, trie.longest + 1):
        candidates, children = _candidates(prompts, trie, states, nodes, scores, excluded_before)
        best, places = candidates.flatten(1).topk(min(2 * beams, candidates[0].numel()))  # [b, 2k]
        best_nodes = children.flatten(1).gather(1, places)
        leaf = trie.is_leaf(best_nodes)
        found = _merged(found, best_nodes[:, :beams], best[:, :beams].masked_fill(~leaf[:, :beams], _NEVER))
        # Log-probabilities only fall: a prefix that is not above the worst of k found names cannot become one of them.
        unfinished = best.masked_fill(leaf | (best <= found.scores[:, -1:]), _NEVER)
        scores, chosen = unfinished.topk(min(beams, unfinished.shape[1]))
        width = int((scores > _NEVER).sum(dim=1).max())
        if not width:
            break
        scores, chosen = scores[:, :width], chosen[:, :width]
        nodes = best_nodes.gather(1, chosen)
        came_from = places.gather(1, chosen) // candidates.shape[-1]
        visible = visible.gather(1, came_from[..., None].expand(-1, -1, visible.shape[-1]))
        itself = torch.eye(width, dtype=torch.bool, device=device).expand(batch, -1, -1)
        visible = torch.cat([visible, itself], dim=-1)
        states = prompts.append(trie.tokens[nodes], torch.full_like(nodes, depth), visible)
    prompts.forget()
    return found


def _candidates(
    prompts: PromptCache, trie: Trie, states: Tensor, nodes: Tensor, scores: Tensor, excluded_before: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scores [b, k, m] of all children of all beams, -inf where there is none, and the children's nodes.

    `states` [b, k, w] at the beams' last tokens, `nodes` and `scores` [b, k]; m is the largest number of children. Only
    beams that are alive are projected to the vocabulary.
    """
    row, beam = (scores > _NEVER).nonzero(as_tuple=True)
    first, end = trie.first_child[nodes[row, beam]], trie.first_child[nodes[row, beam] + 1]
    children = first[:, None] + torch.arange(int((end - first).max()), device=nodes.device)  # [alive, m]
    exists = children < end[:, None]
    children = torch.where(exists, children, 0)
    if excluded_before is not None:
        begin, finish = trie.first_item[children], trie.end_item[children]
        hidden = excluded_before[row[:, None], finish] - excluded_before[row[:, None], begin]
        exists &= hidden < finish - begin
    parent = exists.nonzero()[:, 0]
    log_probs = prompts.log_probs(states[row, beam], parent, trie.tokens[children[exists]])
    extended = scores.new_full(children.shape, _NEVER)
    extended[exists] = scores[row, beam][parent] + log_probs
    candidates, all_children = (tensor.new_empty(*scores.shape, children.shape[1]) for tensor in (extended, children))
    candidates.fill_(_NEVER)[row, beam] = extended
    all_children.fill_(0)[row, beam] = children
    return candidates, all_children


def _merged(found: FoundNames, leaves: Tensor, scores: Tensor) -> FoundNames:
    """The best of the names found before and now; `leaves` and `scores` [b, m], -inf for what is no name."""
    best, places = torch.cat([found.scores, scores], dim=1).topk(found.scores.shape[1])
    names = torch.cat([found.leaves, leaves], dim=1).gather(1, places)
    return FoundNames(names.masked_fill(best == _NEVER, -1), best)


def _excluded_before(trie: Trie, excluded: Tensor | None) -> Tensor | None:
    """[b, n_items + 1] how many of the first items in the trie's order are excluded: differences count any subtree."""
    if excluded is None:
        return None
    counts = torch.zeros(len(excluded), trie.items + 1, dtype=torch.int64, device=excluded.device)
    counts[:, 1:] = excluded[:, trie.order].cumsum(dim=1)
    return counts
