"""Q-Former (BLIP-2, arXiv 2301.12597, section 3.1): learned queries read a CF vector, share self-attention with text.

Queries and text tokens stand in one sequence `[queries; text]`, share self-attention and have feed-forward layers of
their own; only queries cross-attend to the CF tokens. Every training task is one attention mask over that sequence
(`ilm.model.masks`), so there is a single forward. Post-norm layers as in BERT, whose weights give the start.

Shapes: b batch, q queries, t text tokens, s CF tokens, h hidden width, d CF width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class QFormerConfig:
    """Sizes of a Q-Former; the text encoder that gives the start decides all but the last five."""

    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    max_positions: int
    layer_norm_eps: float
    layers: int
    queries: int
    cf_width: int
    cf_tokens: int
    cross_attention_every: int


class Attention(nn.Module):
    """Multi-head attention with BERT's residual and post-norm; keys and values may come from elsewhere."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.hidden, config.hidden)
        self.key = nn.Linear(config.hidden, config.hidden)
        self.value = nn.Linear(config.hidden, config.hidden)
        self.output = nn.Linear(config.hidden, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """From `hidden` [b, l, h], or [1, l, h] where it is the same for all, to `source` [b, m, h]; `mask`
        [b, 1, l, m] is True where attention is allowed."""
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [b, heads, l, h / heads]
            for projection, x in ((self.query, hidden), (self.key, source), (self.value, source))
        )
        query = query.expand(len(key), -1, -1, -1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.norm(self.output(attended.transpose(1, 2).flatten(2)) + hidden)
        return out


class FeedForward(nn.Module):
    """BERT's two-layer GELU network with residual and post-norm."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden, config.intermediate)
        self.down = nn.Linear(config.intermediate, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """[b, l, h] -> [b, l, h]."""
        out: Tensor = self.norm(self.down(F.gelu(self.up(hidden))) + hidden)
        return out


class Layer(nn.Module):
    """Shared self-attention, cross-attention for queries, a feed-forward for queries and one for text."""

    def __init__(self, config: QFormerConfig, cross_attention: bool, text: bool) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.cross_attention = Attention(config) if cross_attention else None
        self.query_feed_forward = FeedForward(config)
        self.text_feed_forward = FeedForward(config) if text else None

    def forward(self, hidden: Tensor, queries: int, cf_tokens: Tensor | None, mask: Tensor | None) -> Tensor:
        """`hidden` [b, queries + t, h], `cf_tokens` [b, s, h] -> [b, queries + t, h]."""
        hidden = self.attention(hidden, hidden, mask)
        parts = []
        if queries:
            query_part = hidden[:, :queries]
            if self.cross_attention is not None:
                assert cf_tokens is not None, "queries need CF tokens to attend to"
                query_part = self.cross_attention(query_part, cf_tokens)
            parts.append(self.query_feed_forward(query_part))
        if hidden.shape[1] > queries:
            assert self.text_feed_forward is not None, "this Q-Former was built without its text branch"
            parts.append(self.text_feed_forward(hidden[:, queries:]))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class TextEmbeddings(nn.Module):
    """Word and position embeddings. The word table stays as the text encoder left it: a catalogue's few thousand short
    texts would bend 30,000 word vectors to themselves, and new items come with new words."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary, config.hidden)
        self.positions = nn.Embedding(config.max_positions, config.hidden)
        self.words.weight.requires_grad_(False)

    def forward(self, token_ids: Tensor) -> Tensor:
        """`token_ids` [b, t] -> [b, t, h], before normalisation."""
        out: Tensor = self.words(token_ids) + self.positions.weight[: token_ids.shape[1]]
        return out


class VectorScales(nn.Module):
    """Brings item and user vectors to unit RMS: both pass through the same encoder, but ALS gives them different
    lengths."""

    items: Tensor
    users: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("items", torch.ones(()))
        self.register_buffer("users", torch.ones(()))

    def fit(self, item_factors: Tensor, user_factors: Tensor) -> None:
        """Set the scales from the item vectors [n, d] and user vectors [m, d] that are not zeros: how many items and
        users came too late to be trained on must not matter."""
        for scale, factors in ((self.items, item_factors), (self.users, user_factors)):
            scale.fill_(factors[factors.any(dim=1)].float().square().mean().rsqrt())

    def forward(self, vectors: Tensor, users: bool) -> Tensor:
        """[b, d] -> [b, d]."""
        return vectors * (self.users if users else self.items)


class QFormer(nn.Module):
    """The encoder of items and users, with (`text=True`, stage 1) or without (stage 2, serving) its text branch."""

    def __init__(self, config: QFormerConfig, text: bool = True) -> None:
        super().__init__()
        self.config = config
        self.query_tokens = nn.Parameter(torch.empty(config.queries, config.hidden))
        self.cf_expansion = nn.Linear(config.cf_width, config.cf_tokens * config.hidden)
        self.cf_norm = nn.LayerNorm(config.hidden, eps=config.layer_norm_eps)
        self.scales = VectorScales()
        self.embedding_norm = nn.LayerNorm(config.hidden, eps=config.layer_norm_eps)
        self.text_embeddings = TextEmbeddings(config) if text else None
        self.layers = nn.ModuleList(
            Layer(config, cross_attention=index % config.cross_attention_every == 0, text=text)
            for index in range(config.layers)
        )
        self._initialise()

    def _initialise(self) -> None:
        """BERT's N(0, 0.02) everywhere, also for the queries: equal queries would stay equal."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.query_tokens, std=0.02)
        nn.init.normal_(self.cf_expansion.weight, std=self.config.cf_width**-0.5)

    def expand(self, vectors: Tensor, users: bool = False) -> Tensor:
        """CF vectors [b, d] -> CF tokens [b, s, h].

        One CF vector as the only key would make cross-attention a constant: softmax over one key is 1.
        """
        expanded = self.cf_expansion(self.scales(vectors, users))
        tokens: Tensor = self.cf_norm(expanded.unflatten(-1, (self.config.cf_tokens, -1)))
        return tokens

    def embed_text(self, token_ids: Tensor) -> Tensor:
        """`token_ids` [b, t] -> normalised text embeddings [b, t, h]."""
        assert self.text_embeddings is not None, "this Q-Former was built without its text branch"
        out: Tensor = self.embedding_norm(self.text_embeddings(token_ids))
        return out

    def forward(self, cf_tokens: Tensor | None, text: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Run queries, text, or both.

        Args:
            cf_tokens: [b, s, h] from `expand`; None leaves the queries out.
            text: [b, t, h] from `embed_text`; None leaves the text out.
            mask: bool [b, 1, q + t, q + t], True where attention is allowed; None allows all.

        Returns:
            Hidden states [b, q + t, h], queries first.
        """
        parts = []
        if cf_tokens is not None:
            alike = 1 if text is None else len(cf_tokens)  # alone, queries are the same for all until they cross-attend
            parts.append(self.embedding_norm(self.query_tokens).expand(alike, -1, -1))
        if text is not None:
            parts.append(text)
        hidden = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        queries = self.config.queries if cf_tokens is not None else 0
        for layer in self.layers:
            hidden = layer(hidden, queries, cf_tokens, mask)
        return hidden

    def encode(self, vectors: Tensor, users: bool = False) -> Tensor:
        """CF vectors [b, d] -> query outputs [b, q, h]."""
        queries: Tensor = self(self.expand(vectors, users))
        return queries

    def query_state(self) -> dict[str, Tensor]:
        """The state of everything but the text branch: what `QFormer(config, text=False)` loads strictly."""
        return {
            k: v for k, v in self.state_dict().items() if "text_embeddings." not in k and "text_feed_forward." not in k
        }
