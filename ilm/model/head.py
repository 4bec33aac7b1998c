"""The retrieval head: scores of the whole catalogue wherever a prompt asks for an item, by one matmul.

A query has two parts: what the language model makes of the prompt (its hidden state, projected), and what the prompt's
items say by themselves (`ilm.model.item_context`). The second part alone is a small sequential recommender that trains
in a minute; the language model, which takes a second per step, learns what to add to it
(docs/decisions/retrieval-head.md).

Shapes: b prompts, n items of the catalogue, q queries, h encoder width, w LLM width, e head width, p places.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ilm.model.item_context import ItemContext, Places

HEAD_WIDTH = 256
BLEND = 0.25
"""Where training starts: the weight of the language model's part beside the other one."""


class RetrievalHead(nn.Module):
    """Score of an item at a place: <query, item vector> + item bias.

    An item's vector is the direction of its projected query outputs plus, with `item_embedding`, a learned part of its
    own; without queries it is that part alone. Hidden states are standardised with fixed statistics
    (`Bridge.calibrate_states`): in a language model's last layer a few features are so large that they would drown the
    others. Without a context, their projection is the whole query; beside one, it has the learned weight `blend`.
    A second projection of theirs tells what a message wishes for (`Bridge.calibrate_wishes`); until then it is zero.
    """

    state_mean: Tensor
    state_deviation: Tensor

    def __init__(
        self, width: int, queries: int, hidden: int, items: int, item_embedding: bool, item_context: bool
    ) -> None:
        super().__init__()
        if not queries and not item_embedding:
            raise ValueError("without queries, item_embedding is all there is to tell items apart: switch it on")
        self.register_buffer("state_mean", torch.zeros(width))
        self.register_buffer("state_deviation", torch.ones(width))
        self.answer_projection = nn.Linear(width, HEAD_WIDTH)
        self.wish_projection = nn.Linear(width, HEAD_WIDTH).requires_grad_(False)
        nn.init.zeros_(self.wish_projection.weight)
        nn.init.zeros_(self.wish_projection.bias)
        self.item_projection = nn.Linear(queries * hidden, HEAD_WIDTH) if queries else None
        self.item_embedding = nn.Parameter(torch.zeros(items, HEAD_WIDTH)) if item_embedding else None
        if self.item_embedding is not None and not queries:
            nn.init.normal_(self.item_embedding, std=HEAD_WIDTH**-0.5)
        self.item_bias = nn.Parameter(torch.zeros(items)) if item_embedding else None
        self.item_context = ItemContext(HEAD_WIDTH) if item_context else None
        self.blend = nn.Parameter(torch.tensor(BLEND))
        self.items_are_kept = False

    def standard(self, states: Tensor) -> Tensor:
        """Hidden states [m, w] centred, loud features shrunk, of length 1 or so."""
        out: Tensor = (states - self.state_mean) / self.state_deviation * states.shape[-1] ** -0.5
        return out

    def vectors(self, queries: Tensor) -> Tensor:
        """Unit vectors [n, e] of query outputs [n, q, h] of items or users."""
        if self.item_projection is None:
            return queries.new_zeros(len(queries), HEAD_WIDTH)
        return F.normalize(self.item_projection(queries.flatten(1)), dim=-1)

    def table(self, item_queries: Tensor) -> Tensor:
        """Item vectors [n, e] of the whole catalogue's query outputs [n, q, h]."""
        return self.table_of(self.vectors(item_queries))

    def table_of(self, vectors: Tensor) -> Tensor:
        """The same, of what `vectors` makes of them [n, e]."""
        return vectors if self.item_embedding is None else vectors + self.item_embedding

    def grow(self, items: int) -> None:
        """Make room for so many more items behind the others: without a learned part, and with the smallest bias."""
        if self.item_embedding is None or self.item_bias is None or not items:
            return
        rows = self.item_embedding.new_zeros(items, HEAD_WIDTH)
        biases = self.item_bias.detach().min().expand(items)
        self.item_embedding = nn.Parameter(torch.cat([self.item_embedding.detach(), rows]))
        self.item_bias = nn.Parameter(torch.cat([self.item_bias.detach(), biases]))

    def keep_items(self) -> None:
        """Stop the training of item vectors and item context: what hidden states and users say learns beside them."""
        self.items_are_kept = True
        self.requires_grad_(False)
        self.answer_projection.requires_grad_(True)
        self.blend.requires_grad_(True)
        if self.item_context is not None:
            self.item_context.user_strength.requires_grad_(True)

    def context(
        self, table: Tensor, shown: Places, rows: Tensor, positions: Tensor, user_queries: Tensor, user_rows: Tensor
    ) -> Tensor | None:
        """Contexts [p, e] of the places at prompt `rows`, token `positions`; None for a head without item context.

        Args:
            table: [n, e].
            shown: the items of the prompts.
            rows, positions: int64 [p].
            user_queries: [u, q, h] query outputs of the users that the prompts show, at most one a prompt.
            user_rows: int64 [u] the prompt of each.
        """
        if self.item_context is None:
            return None
        prompts = 1 + int(max(part.max() if len(part) else 0 for part in (shown.rows, rows, user_rows)))
        users = table.new_zeros(prompts, HEAD_WIDTH).index_put((user_rows,), self.vectors(user_queries).to(table.dtype))
        context: Tensor = self.item_context(table, shown, rows, positions, users)
        return context

    def forward(
        self, states: Tensor | None, context: Tensor | None, table: Tensor, told: Tensor | None = None
    ) -> Tensor:
        """Scores [p, n] of all items for hidden states [p, w] and contexts [p, e], where there are such.

        `told` bool [p]: places at the end of a message, whose words may wish for something; None: there are none.
        """
        queries = [] if context is None else [context]
        if states is not None:
            standard = self.standard(states)
            said = self.answer_projection(standard)
            if context is not None:  # zero where a prompt shows neither items nor a user: the words are all there is
                said = torch.where((context != 0).any(dim=-1, keepdim=True), self.blend, 1.0) * said
            queries.append(said)
            if told is not None:
                queries.append(self.wish_projection(standard) * told[:, None])
        scores: Tensor = torch.stack(queries).sum(dim=0) @ table.T
        return scores if self.item_bias is None else scores + self.item_bias
