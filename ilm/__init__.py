"""The Item-Language Model library: data, matrix factorisation, model, training, ranking, evaluation, serving.

`from ilm import ItemLanguageModel` is what a notebook needs; it is loaded on first use, so that `import ilm` is light.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilm.serve.item_language_model import ItemLanguageModel as ItemLanguageModel
    from ilm.serve.question import Recommendation as Recommendation
    from ilm.serve.question import Reply as Reply

__all__ = ["ItemLanguageModel", "Recommendation", "Reply"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ilm' has no attribute '{name}'")
    from ilm.serve import item_language_model, question

    return getattr(item_language_model if name == "ItemLanguageModel" else question, name)
