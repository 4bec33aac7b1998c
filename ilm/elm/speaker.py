"""What a model says to the tasks' questions, and how likely it finds what the teacher said."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ilm.elm.greedy import continue_greedily
from ilm.elm.tasks import Request
from ilm.model.bridge import Bridge
from ilm.prompts.example import Example, Turn
from ilm.prompts.rendering import Rendered, Renderer


class Speaker:
    """An Item-Language Model that answers questions about items; items stand in them as soft tokens, or by their titles
    where the model has none.

    Args:
        model: encoder and adapter before a frozen language model, all on one device.
        item_factors: [n, d] CF vectors.
        max_tokens: of an answer, said or read; longer references are cut there, and then have no end.
    """

    def __init__(self, model: Bridge, item_factors: Tensor, max_tokens: int) -> None:
        self.model, self.max_tokens = model, max_tokens
        self.item_factors = item_factors.to(model.language_model.model.device)
        self._renderer = Renderer(model.language_model, model.adapter.soft_tokens, max_tokens, model.item_names)

    def read(self, requests: Sequence[Request], texts: Sequence[str]) -> Rendered:
        """The questions with their answers, as tokens."""
        return self._rendered([Example((Turn(r.question(), (t,)),)) for r, t in zip(requests, texts, strict=True)])

    def nats(self, rendered: Rendered, blind: bool = False) -> tuple[Tensor, Tensor]:
        """-log p [b] of each answer's tokens, its end included where it is not cut, and the number of them [b].

        With gradient. Only the answers' positions are projected to the vocabulary. `blind` sets soft tokens to zero.
        """
        states = self.model.language_model.hidden_states(self._embeddings(rendered, blind), rendered.prompts.mask)
        logits = self.model.language_model.logits(states[rendered.spoken])
        following = rendered.prompts.token_ids.roll(-1, dims=1)[rendered.spoken]
        nats = F.cross_entropy(logits.float(), following, reduction="none")
        rows = rendered.spoken.nonzero()[:, 0]
        tokens = rendered.spoken.sum(dim=1)
        return torch.zeros(len(tokens), device=nats.device).index_add(0, rows, nats), tokens

    @torch.no_grad()
    def say(self, requests: Sequence[Request], blind: bool = False) -> list[str]:
        """Greedy answers to questions; one that reaches the limit of tokens stays as it was cut."""
        rendered = self._rendered([Example((Turn(request.question()),)) for request in requests])
        embeddings = self._embeddings(rendered, blind)
        said = continue_greedily(self.model.language_model, embeddings, rendered.prompts.mask, self.max_tokens)
        return [text for text, _ in said]

    def _rendered(self, examples: Sequence[Example]) -> Rendered:
        nobody = torch.zeros(len(examples), self.item_factors.shape[1])
        return self._renderer(examples, nobody).to(self.item_factors.device)

    def _embeddings(self, rendered: Rendered, blind: bool) -> Tensor:
        """Input embeddings [b, l, w]; an item that occurs often is encoded once."""
        items, place = rendered.prompts.items.unique(return_inverse=True)
        soft = self.model.adapter(self.model.encoder.encode(self.item_factors[items]))[place]
        no_user = soft.new_zeros(0, self.model.adapter.soft_tokens, self.model.adapter.width)
        return self.model.embed(rendered.prompts, soft * (0.0 if blind else 1.0), no_user)
