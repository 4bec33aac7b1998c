"""A batch of prompts, computed once, and any number of continuations that share their keys and values.

Continuations of a prompt are a tree of tokens that lies behind it in *one* sequence: a token attends to the prompt and
to its own ancestors, by an explicit attention mask, and its position is its depth, not its place. So beams are neither
rows of the batch nor copies of the prompt's cache, and choosing among them moves no keys and values.
"""

import torch
from torch import Tensor

from ilm.errors import ConfigError
from ilm.model.language_model import LanguageModel

_STATES_AT_ONCE = 128
"""Hidden states projected to the vocabulary at once: logits of 25 MB with 49,152 words. Several times as many are
slower, for the allocator then asks the system for fresh pages each time."""


class PromptCache:
    """Prompts (right-padded, as in training) and the tokens appended to them.

    Shapes: b prompts, l prompt tokens with padding, n tokens appended so far, t new tokens, w LLM width.

    Args:
        language_model: any causal LM that takes position ids and 4-D masks.
        embeddings: [b, l, w] input embeddings, soft tokens scattered in.
        mask: [b, l] True at tokens, False at the padding behind them.
    """

    def __init__(self, language_model: LanguageModel, embeddings: Tensor, mask: Tensor) -> None:
        from transformers import DynamicCache

        self._language_model = language_model
        self._model = language_model.model.base_model
        self._lengths = mask.sum(dim=1)  # [b]
        self._mask = mask  # [b, l]
        self._cache = DynamicCache()
        with torch.no_grad():
            states = self._model(
                inputs_embeds=embeddings, attention_mask=mask, past_key_values=self._cache, use_cache=True
            ).last_hidden_state
        self.answer_states = states[torch.arange(len(mask), device=mask.device), self._lengths - 1]
        """[b, w] hidden states of the prompts' last tokens, where a name's first token is predicted."""
        self.batch = len(mask)
        """b."""
        self.appended = 0
        """n."""

    @torch.no_grad()
    def append(self, token_ids: Tensor, depths: Tensor, visible: Tensor) -> Tensor:
        """Hidden states [b, t, w] of new tokens.

        Args:
            token_ids: [b, t].
            depths: [b, t] tokens from the prompt's end: 1 for a name's first.
            visible: bool [b, t, n + t], which appended tokens (the last t are the new ones) each attends to; itself
                must be among them.

        Raises:
            ConfigError: a token lies beyond the language model's attention window, which our masks do not slide.
        """
        config = self._model.config
        slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
        window = getattr(config, "sliding_window", None) if slides else None
        if window and int(self._lengths.max()) + int(depths.max()) > window:
            raise ConfigError(
                f"language model '{self._language_model.name}' has an attention window of {window} tokens; ranking by "
                "generation needs prompt and name within it. Show fewer items (pairs.max_history), or rank by the head."
            )
        prompt = self._mask[:, None].expand(-1, token_ids.shape[1], -1)
        allowed = torch.cat([prompt, visible], dim=-1)
        dtype = self._model.dtype
        additive = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        additive = additive.masked_fill(~allowed, torch.finfo(dtype).min)
        states: Tensor = self._model(
            input_ids=token_ids,
            attention_mask=additive[:, None],
            position_ids=self._lengths[:, None] + depths - 1,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        self.appended += token_ids.shape[1]
        return states

    @torch.no_grad()
    def log_probs(self, states: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
        """log p(tokens[i] | states[rows[i]]) [k], under the softmax of the full vocabulary.

        `states` [m, w], each projected once; `rows` and `tokens` [k].
        """
        log_probs = torch.empty(len(rows), device=rows.device)
        for start in range(0, len(states), _STATES_AT_ONCE):
            logits = self._language_model.logits(states[start : start + _STATES_AT_ONCE]).float()
            wanted = ((rows >= start) & (rows < start + len(logits))).nonzero()[:, 0]
            at = rows[wanted] - start
            log_probs[wanted] = logits[at, tokens[wanted]] - logits.logsumexp(dim=-1)[at]
        return log_probs

    def forget(self) -> None:
        """Drop all appended tokens: the prompts are as after the start."""
        if self.appended:
            self._cache.crop(-self.appended)
            self.appended = 0
