"""The Item-Language Model: item and user vectors between ordinary words in a frozen language model's prompt.

Query outputs of items and users (`ilm.model.encoders`) pass a linear adapter and take the places of placeholder tokens
(design of ILM, arXiv 2406.02844, phase 2, and of LLaVA-like bridges: one `masked_scatter`). A retrieval head compares
the hidden state at an answer position with a table of item vectors, so one matmul ranks the whole catalogue.

Shapes: b prompts, l tokens, n items of the catalogue, q queries, h encoder width, s soft tokens,
w LLM width, e head width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from ilm.model.encoders import Encoder
from ilm.model.head import RetrievalHead
from ilm.model.language_model import LanguageModel

ENCODED_AT_ONCE = 1024
RIDGE = 0.01
"""Penalty of regressions on hidden states, in units of the mean square of a feature summed over the sample."""


@dataclass(frozen=True)
class Prompts:
    """A right-padded batch of prompts whose placeholders are filled from the vectors beside it.

    `token_ids`, `mask` [b, l]; `items` [slots] item indexes of all item placeholders in row-major order;
    `users` [slots, d] CF vectors of all user placeholders in row-major order.
    """

    token_ids: Tensor
    mask: Tensor
    items: Tensor
    users: Tensor


class Adapter(nn.Module):
    """Linear map from query outputs [n, q, h] to LLM inputs [n, s, w]: each of the s soft tokens is a projection of
    q / s neighbouring queries. Without queries there are no soft tokens, whatever was asked for."""

    def __init__(self, queries: int, hidden: int, soft_tokens: int, width: int) -> None:
        super().__init__()
        self.soft_tokens, self.width = soft_tokens if queries else 0, width
        if queries % soft_tokens:
            raise ValueError(f"soft_tokens ({soft_tokens}) must divide queries ({queries})")
        self.inputs = queries // soft_tokens * hidden
        self.projection = nn.Linear(self.inputs, width) if queries else None

    def forward(self, queries: Tensor) -> Tensor:
        """[n, q, h] -> [n, s, w]."""
        if self.projection is None:
            return queries.new_zeros(len(queries), 0, self.width)
        out: Tensor = self.projection(queries.reshape(len(queries), self.soft_tokens, self.inputs))
        return out


class Bridge(nn.Module):
    """Encoder, adapter and retrieval head around a frozen language model.

    `state_dict` holds what is trained, the encoder's scales and the items' names; never the language model.

    Args:
        encoder: without a text branch.
        language_model: frozen; kept outside the module tree.
        items: size of the catalogue.
        soft_tokens: LLM positions per item or user (none with an encoder that has no queries).
        item_embedding: whether the retrieval table has a learned part per item.
        item_context: whether the head's queries have a part of the prompt's items themselves.
        item_names: int64 [n, t], token ids of each item's title, -1 behind its end (`ilm.prompts`): how items stand in
            a prompt where an encoder has no queries. None, and never needed, for other encoders.

    Raises:
        ValueError: soft_tokens do not divide the encoder's queries; or an encoder without queries lacks `item_names`
            or `item_embedding`.
    """

    item_names: Tensor | None

    def __init__(
        self,
        encoder: Encoder,
        language_model: LanguageModel,
        items: int,
        soft_tokens: int,
        item_embedding: bool,
        item_names: Tensor | None = None,
        item_context: bool = True,
    ) -> None:
        super().__init__()
        queries, hidden = encoder.config.queries, encoder.config.hidden
        if (item_names is None) == (queries == 0):
            raise ValueError("item_names are for encoders without queries, and needed there")
        self._outside_state = (language_model,)
        self.encoder = encoder
        self.adapter = Adapter(queries, hidden, soft_tokens, language_model.width)
        self.head = RetrievalHead(language_model.width, queries, hidden, items, item_embedding, item_context)
        self.register_buffer("item_names", item_names)

    @property
    def language_model(self) -> LanguageModel:
        """The frozen language model."""
        return self._outside_state[0]

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.head.state_mean.device

    def move(self, device: torch.device) -> "Bridge":
        """Bring it to a device, its language model too, each in the precision that it has."""
        self.language_model.model.to(device)
        return self.to(device)

    @torch.no_grad()
    def calibrate_items(self, item_queries: Tensor, known: Tensor) -> None:
        """Start adapter and item table where items differ: centred over the catalogue's query outputs [n, q, h]
        (`known` bool [n]: those with a CF vector), soft tokens at the scale of the word embeddings.

        Half of a pretrained Q-Former's output is the same for all items; left in, it drowns what tells them apart.
        """
        if self.adapter.projection is None or self.head.item_projection is None:
            return
        _calibrate(self.adapter.projection, self.adapter(item_queries)[known], self.language_model.embedding_scale)
        _calibrate(self.head.item_projection, self.head.item_projection(item_queries.flatten(1))[known], 1.0)

    @torch.no_grad()
    def calibrate_states(self, states: Tensor) -> None:
        """Fix the statistics by which the head standardises hidden states, from a sample [m, w] of answer positions.

        Features that vary more than the average one are shrunk to it; those that vary less are left: enlarging them
        would enlarge noise (docs/decisions/retrieval-head.md).
        """
        deviation = states.std(dim=0)
        self.head.state_mean.copy_(states.mean(dim=0))
        self.head.state_deviation.copy_(torch.maximum(deviation, deviation.square().mean().sqrt()))

    @torch.no_grad()
    def calibrate_answers(self, states: Tensor, contexts: Tensor) -> None:
        """Start the projection of hidden states [m, w] as the ridge regression of the contexts [m, e] at their places.

        What a hidden state says of the items before it is found in seconds that way, else in hundreds of steps.
        """
        _fit(self.head.answer_projection, self.head.standard(states), contexts)

    @torch.no_grad()
    def calibrate_wishes(self, states: Tensor, wishes: Tensor) -> None:
        """Fit the projection of hidden states [m, w] to what their prompts wish for [m, e], by ridge regression."""
        _fit(self.head.wish_projection, self.head.standard(states), wishes)

    def embed(self, prompts: Prompts, item_soft: Tensor, user_soft: Tensor) -> Tensor:
        """Input embeddings [b, l, w]: word embeddings, with soft tokens scattered into the placeholders.

        Args:
            prompts: the batch.
            item_soft: [item slots, s, w] soft tokens, one row per item placeholder group, in row-major order.
            user_soft: [user slots, s, w] likewise.

        Raises:
            ValueError: the number of placeholders is not the number of soft tokens.
        """
        lm = self.language_model
        is_item, is_user = prompts.token_ids == lm.item_id, prompts.token_ids == lm.user_id
        for kind, slots, soft in (("item", is_item, item_soft), ("user", is_user, user_soft)):
            count, vectors = int(slots.sum()), soft.shape[0] * soft.shape[1]
            if count != vectors:
                raise ValueError(f"{count} {kind} placeholders in the prompts, but {vectors} {kind} vectors for them")
        words = lm.model.get_input_embeddings()(prompts.token_ids.masked_fill(is_item | is_user, 0))
        words = words.masked_scatter(is_item[..., None], item_soft.to(words.dtype))
        embeddings: Tensor = words.masked_scatter(is_user[..., None], user_soft.to(words.dtype))
        return embeddings

    def hidden_states(self, prompts: Prompts, item_soft: Tensor, user_soft: Tensor) -> Tensor:
        """The language model's last hidden states [b, l, w]."""
        return self.language_model.hidden_states(self.embed(prompts, item_soft, user_soft), prompts.mask)

    @torch.no_grad()
    def encoded(self, vectors: Tensor) -> Iterator[Tensor]:
        """Query outputs [up to 1024, q, h] of some items after the others, by CF vectors [n, d]; without gradient."""
        yield from map(self.encoder.encode, vectors.split(ENCODED_AT_ONCE))

    def encode_all(self, vectors: Tensor) -> Tensor:
        """Query outputs [n, q, h] of items' CF vectors [n, d], without gradient: 12 kB an item, by default."""
        parts, place = self.encoded(vectors), 0
        first = next(parts)
        whole = first.new_empty(
            len(vectors), *first.shape[1:]
        )  # to be filled: parts beside the whole would be twice it
        for part in chain([first], parts):
            whole[place : place + len(part)] = part
            place += len(part)
        return whole


def _calibrate(linear: nn.Linear, outputs: Tensor, scale: float) -> None:
    """Shift and scale a linear layer so that its `outputs` [..., w] would have been centred, of RMS `scale`."""
    mean = outputs.flatten(0, -2).mean(dim=0)
    factor = scale / (outputs - mean).square().mean().sqrt()
    linear.weight.mul_(factor)
    linear.bias.copy_((linear.bias - mean) * factor)


def _fit(linear: nn.Linear, inputs: Tensor, outputs: Tensor) -> None:
    """The ridge regression of `outputs` [m, e] on `inputs` [m, w]."""
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1).double()
    gram = inputs.T @ inputs
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    solution = torch.linalg.solve(gram + ridge, inputs.T @ outputs.double()).float()  # [w + 1, e]
    linear.weight.copy_(solution[:-1].T)
    linear.bias.copy_(solution[-1])
