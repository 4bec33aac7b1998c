"""Greedy decoding: the likeliest token, again and again. No sampling, no setting of a generation config has a say."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ilm.model.bridge import Prompts
from ilm.model.language_model import LanguageModel
from ilm.prompts.chat import chat_frames
from ilm.prompts.example import Example, Turn
from ilm.prompts.rendering import Renderer
from ilm.rank.prompt_cache import PromptCache


@torch.no_grad()
def continue_greedily(
    language_model: LanguageModel, embeddings: Tensor, mask: Tensor, max_tokens: int
) -> list[tuple[str, bool]]:
    """What the language model says behind each prompt, and whether it came to an end within `max_tokens`.

    Equal to `generate(do_sample=False)` of transformers, which a test holds it to; ties go to the smaller token id.

    Args:
        language_model: with the end of an answer in its chat template.
        embeddings: [b, l, w] input embeddings of the prompts, right-padded.
        mask: [b, l] True at tokens.
        max_tokens: of an answer, its end not counted.
    """
    ends = torch.tensor(sorted(end_tokens(language_model)), device=embeddings.device)
    prompts = PromptCache(language_model, embeddings, mask)
    states, said = prompts.answer_states, []
    ended = torch.zeros(prompts.batch, dtype=torch.bool, device=embeddings.device)
    for number in range(max_tokens + 1):
        token = language_model.logits(states).argmax(dim=-1)  # [b]
        ended |= torch.isin(token, ends)
        if bool(ended.all()) or number == max_tokens:
            break
        said.append(token.masked_fill(ended, int(ends[0])))
        depths = torch.full((prompts.batch, 1), number + 1, device=token.device)
        visible = torch.ones(prompts.batch, 1, number + 1, dtype=torch.bool, device=token.device)
        states = prompts.append(said[-1][:, None], depths, visible)[:, 0]
    rows = torch.stack(said, dim=1).tolist() if said else [[] for _ in range(prompts.batch)]
    stop = set(ends.tolist())
    words = [row[: next((place for place, token in enumerate(row) if token in stop), len(row))] for row in rows]
    texts = language_model.tokenizer.batch_decode(words, skip_special_tokens=True)
    return [(text.strip(), whole) for text, whole in zip(texts, ended.tolist(), strict=True)]


def answer_greedily(language_model: LanguageModel, questions: Sequence[str], max_tokens: int) -> list[tuple[str, bool]]:
    """As `continue_greedily`, of questions in plain words, each in the model's chat template."""
    prompts = worded(language_model, questions)
    embeddings = language_model.model.get_input_embeddings()(prompts.token_ids)
    return continue_greedily(language_model, embeddings, prompts.mask, max_tokens)


def worded(language_model: LanguageModel, texts: Sequence[str]) -> Prompts:
    """Texts without an item or a user, as questions in the chat template."""
    examples = [Example((Turn((text,)),)) for text in texts]
    prompts = Renderer(language_model, 0)(examples, torch.zeros(len(texts), 1)).prompts
    device = language_model.model.device
    return Prompts(prompts.token_ids.to(device), prompts.mask.to(device), prompts.items, prompts.users)


def end_tokens(language_model: LanguageModel) -> set[int]:
    """Tokens that end an answer: the special ones behind it in the chat template, and the end of a text."""
    special = set(language_model.tokenizer.all_special_ids)
    behind = chat_frames(language_model.tokenizer, 1)[2]
    return {int(token) for token in behind if token in special} | {int(language_model.tokenizer.eos_token_id)}
