"""`ilm init`: what is proposed can be read, what is made can be worked in, and nothing is overwritten."""

import gzip
import sys
from pathlib import Path

import pytest
import yaml

from flows import cli
from flows.workspace import with_settings
from ilm.errors import IlmError
from ilm.params import load_params
from tests.fake_project import ROOT, git

USERS, ITEMS = 60, 60


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """orders.csv and products.csv.gz of a made-up shop, with one order of something unknown."""
    orders = [
        f"c{user},p{(user * 7 + number * number) % ITEMS},2024-{1 + number % 12:02}-{1 + user % 28:02}T10:00:00"
        for user in range(USERS)
        for number in range(20)
    ]
    (tmp_path / "orders.csv").write_text("\n".join(["customer,sku,bought_at", *orders, "c1,gone,2024-01-01"]) + "\n")
    products = [f"p{item},Thing number {item},Red|Blue" for item in range(ITEMS)]
    with gzip.open(tmp_path / "products.csv.gz", "wt") as file:
        file.write("\n".join(["sku,name,colours", *products]) + "\n")
    return tmp_path


def init(monkeypatch: pytest.MonkeyPatch, files: Path, *words: str) -> object:
    command = ["ilm", "init", str(files / "shop"), "--interactions", str(files / "orders.csv")]
    monkeypatch.setattr(sys, "argv", [*command, "--items", str(files / "products.csv.gz"), *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_a_workspace_has_settings_data_and_a_clean_commit(files, monkeypatch, capsys):
    assert init(monkeypatch, files, "--yes") == 0
    said = capsys.readouterr().out
    for words in (
        "user_id     <- customer",
        "title       <- name",
        "texts       <- colours",
        "from 2024-01-01 to 2024-12-28",
    ):
        assert words in said
    shop = files / "shop"
    data = load_params(shop / "params.yaml").data
    assert data.source == "folder"
    assert data.interaction_columns == {"item_id": "sku", "user_id": "customer", "timestamp": "bought_at"}
    assert data.item_columns == {"item_id": "sku", "title": "name"}
    assert (shop / "data/raw/items.csv").read_text().startswith("sku,name,colours\n")
    assert (shop / "data/raw/interactions.csv").read_bytes() == (files / "orders.csv").read_bytes()
    assert git(shop, "status", "--porcelain") == ""
    assert "# holds interactions.* and items.*" in (shop / "params.yaml").read_text(), "comments stay"


def test_nothing_is_written_before_it_is_confirmed(files, monkeypatch, capsys):
    import typer

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: False)
    assert init(monkeypatch, files) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert not (files / "shop").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--yes", "--map", "user_id=nobody"], "there is no column nobody"),
        (["--yes", "--items", "missing.csv"], "no such file"),
        (["--yes", "--items", "orders.xlsx"], "Export it in one of these"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(files, words, message, monkeypatch, capsys):
    (files / "orders.xlsx").write_bytes(b"PK")
    monkeypatch.chdir(files)
    assert init(monkeypatch, files, *words) == 2
    assert message in capsys.readouterr().err
    assert not (files / "shop").exists()


def test_a_folder_with_something_in_it_is_left_alone(files, monkeypatch, capsys):
    (files / "shop").mkdir()
    (files / "shop/mine").write_text("precious")
    assert init(monkeypatch, files, "--yes") == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in (files / "shop").iterdir()] == ["mine"]


def test_too_short_a_log_is_told(files, monkeypatch, capsys):
    lines = (files / "orders.csv").read_text().splitlines()
    (files / "orders.csv").write_text("\n".join(lines[:30]) + "\n")
    assert init(monkeypatch, files, "--yes") == 2
    assert "are too few" in capsys.readouterr().err


def test_settings_are_changed_where_they_stand():
    text = (ROOT / "params.yaml").read_text()
    changed = with_settings(
        text, {"data.source": "folder", "data.item_columns": {"title": "na: me"}, "gate.min_users": 8, "cf.factors": 8}
    )
    before, after = yaml.safe_load(text), yaml.safe_load(changed)
    before["data"] |= {"source": "folder", "item_columns": {"title": "na: me"}}
    before["cf"]["factors"] = before["gate"]["min_users"] = 8
    assert after == before
    assert changed.count("#") == text.count("#")
    with pytest.raises(IlmError, match=r"no setting cf\.nothing"):
        with_settings(text, {"cf.nothing": 1})
