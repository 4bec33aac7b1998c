"""The examples of docs/python-api.md run as they stand, one after the other."""

import re
from pathlib import Path

import pytest

from flows import registry
from tests.fake_project import ROOT


def test_examples_of_the_page_run(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
    monkeypatch.setattr(registry, "champion_bundle", lambda project: model_folder)
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for example in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(example, "docs/python-api.md", "exec"), known)
    reply, older = known["reply"], known["older"]
    assert all(item.title in reply.text for item in reply.items)
    assert not {item.item_id for item in reply.items} & {item.item_id for item in older.items}
