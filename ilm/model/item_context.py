"""What the items of a prompt say about the next one, without the language model: a small sequential recommender.

Shapes: b prompts, n items of the catalogue, e head width, p places, t items shown in the longest prompt.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HALF_LIVES = (2.0, 40.0)
"""Where training starts: after how many items a shown one counts half, in a mean of the latest and in a longer one."""
STRENGTHS = (6.0, 2.0)
"""Where training starts: the weights of these means."""
USER_STRENGTH = 12.0
"""Where training starts: the weight of the user's vector."""
SLOPES = (0.5, 0.06)
"""Where training starts: by how much an attention logit falls with each item in between, one per head."""
_NEVER = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Places:
    """Places in a batch of prompts, in the order in which they stand: prompt `rows`, token `positions`, and the `items`
    there (shown, or asked for), each int64 [p]."""

    rows: Tensor
    positions: Tensor
    items: Tensor

    def to(self, device: torch.device) -> "Places":
        """The same on a device."""
        return Places(self.rows.to(device), self.positions.to(device), self.items.to(device))


class ItemContext(nn.Module):
    """Two means of the vectors of the items before a place, with weights that fall by a learned factor from each item
    to the one before it, and what a layer of attention makes of the same vectors, next to nothing at first.

    Where no item was shown, the user's vector speaks.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        keep = 0.5 ** (1.0 / torch.tensor(HALF_LIVES))
        self.decay = nn.Parameter(keep.logit())
        self.strength = nn.Parameter(torch.tensor(STRENGTHS))
        self.user_strength = nn.Parameter(torch.tensor(USER_STRENGTH))
        self.attention = CausalAttention(width)

    def forward(
        self,
        table: Tensor,
        shown: Places,
        rows: Tensor,
        positions: Tensor,
        users: Tensor,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Contexts [p, e] of the places at prompt `rows`, token `positions` [p].

        Args:
            table: item vectors [n, e].
            shown: the items of the prompts, each at its last token.
            rows, positions: the places, prompt by prompt.
            users: [b, e] vector of each prompt's user, zeros where a prompt shows none.
            noise: [b, >= t, e] factors on what the attention reads, in training.
        """
        alone = self.user_strength * users[rows]
        slots, width = _slots(shown.rows, len(users))
        if not width:
            return alone
        items = shown.items.new_zeros(len(users), width).index_put((shown.rows, slots), shown.items)
        at = positions.new_full((len(users), width), _NEVER).index_put((shown.rows, slots), shown.positions)
        before = at[rows] <= positions[:, None]  # [p, t]
        known = before.sum(dim=1, keepdim=True)
        age = (known - 1 - torch.arange(width, device=rows.device)).clamp(min=0)
        weights = self.decay.sigmoid()[:, None, None] ** age * before  # [2, p, t]
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-6)
        mixed = (self.strength[:, None, None] * weights).sum(dim=0)  # [p, t]
        slots, places = _slots(rows, len(users))
        by_prompt = mixed.new_zeros(len(users), places, width).index_put((rows, slots), mixed)
        vectors = table[items]  # [b, t, e]
        means = (by_prompt @ vectors)[rows, slots]
        attended = self.attention(vectors if noise is None else vectors * noise[:, :width])
        said = means + attended[rows, (known[:, 0] - 1).clamp(min=0)]
        return torch.where(known > 0, said, alone)


class CausalAttention(nn.Module):
    """One pre-norm transformer layer in which an item sees itself and those before it (SASRec, arXiv 1808.09781).

    Instead of positions, which would bound the length, logits fall with distance by a learned slope per head (ALiBi,
    arXiv 2108.12409).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(SLOPES).log())
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.output_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)
        nn.init.normal_(self.output.weight, std=0.002)  # the means speak first
        nn.init.zeros_(self.output.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """[b, t, e] -> [b, t, e]."""
        place = torch.arange(vectors.shape[1], device=vectors.device)
        distance = place[:, None] - place
        bias = (-self.slope.exp()[:, None, None] * distance).masked_fill(distance < 0, -torch.inf)  # [heads, t, t]
        query, key, value = (
            self.query_key_value(self.attention_norm(vectors))
            .unflatten(-1, (3, len(SLOPES), -1))
            .permute(2, 0, 3, 1, 4)  # each [b, heads, t, e / heads]
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        hidden = vectors + self.attention_output(attended.transpose(1, 2).flatten(2))
        hidden = hidden + self.down(F.gelu(self.up(self.feed_forward_norm(hidden))))
        out: Tensor = self.output(self.output_norm(hidden))
        return out


def _slots(rows: Tensor, prompts: int) -> tuple[Tensor, int]:
    """How many of the sorted `rows` [p] before each one are of the same prompt, and the most that a prompt has."""
    counts = torch.bincount(rows, minlength=prompts)
    slots = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    return slots, int(counts.max()) if len(counts) else 0
