"""Names as tokens: what is generated where an item is named, by its title or by an index string.

A name is a list of token ids: a space before (as behind a prompt in training), the end token behind, nothing cut off.
"""

import sys
from collections.abc import Sequence

from ilm.model.language_model import LanguageModel
from ilm.prompts.rendering import title_tokens


def name_tokens(language_model: LanguageModel, names: Sequence[str]) -> list[list[int]]:
    """Token ids of each item's whole name (`ilm.prompts.indexes.spoken_names`) as an answer."""
    return title_tokens(language_model, names, max_tokens=sys.maxsize)
