"""The gate on two real folders: a decision and its record, and for everything that may be broken no promotion."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ilm.cf import factors as cf_factors
from ilm.files import digest, read_json, write_json
from ilm.gate import judge as gate_judge
from ilm.gate.decision import Decision
from ilm.gate.judge import judge
from ilm.params import Params
from ilm.serve import bundle
from tests.ilm.gate.conftest import CUT, date, event, write_items, write_log

RECORD = ("decision.json", "decision.md", "ranks.parquet")


@pytest.fixture
def ask(models: tuple[Path, Path], log: Path, items: Path, params: Params, tmp_path: Path) -> Callable[..., Decision]:
    """Call the gate, with what a test changes."""

    def call(**changes: Any) -> Decision:
        given = {"champion": models[0], "challenger": models[1], "interactions": log, "items": items}
        fixed = {"params": params, "code": "c0ffee", "out": tmp_path / "gate"}
        return judge(**(given | fixed | changes))

    return call


@pytest.fixture
def damaged(models: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of champion and challenger to damage."""
    return tuple(  # type: ignore[return-value]
        Path(shutil.copytree(folder, tmp_path / name)) for folder, name in zip(models, ("old", "new"), strict=True)
    )


def record(tmp_path: Path) -> Any:
    return read_json(tmp_path / "gate/decision.json")


def test_two_models_are_compared_and_the_record_says_by_what(
    ask: Callable[..., Decision], models: tuple[Path, Path], tmp_path: Path
) -> None:
    decision = ask()
    assert decision.outcome in ("promote", "refuse", "underpowered") and decision.test is not None
    said = record(tmp_path)
    assert said["outcome"] == decision.outcome and said["reasons"] == list(decision.reasons)
    assert said["champion"]["digest"] == digest(models[0]) and said["challenger"]["digest"] == digest(models[1])
    assert said["champion"]["space_id"] == said["challenger"]["space_id"] == "0" * 16
    assert said["holdout"]["cut"] == CUT.isoformat() == said["challenger"]["fitted_until"]
    assert (said["holdout"]["users"], said["code"]) == (12, "c0ffee")
    assert said["settings"]["gate"]["metric"] == "ndcg_at_10"
    ranks = pl.read_parquet(tmp_path / "gate/ranks.parquet")
    assert ranks.columns == ["user_id", "target", "champion_rank", "challenger_rank"] and len(ranks) == 12
    hits = (ranks["challenger_rank"] <= 5).mean()
    assert said["metrics"]["hr_at_5"]["challenger"] == pytest.approx(hits)


def test_the_cut_is_the_later_end_of_the_two(
    ask: Callable[..., Decision], damaged: tuple[Path, Path], tmp_path: Path
) -> None:
    date(damaged[0], CUT + timedelta(days=1, hours=1))
    ask(champion=damaged[0])
    assert record(tmp_path)["holdout"]["cut"] == (CUT + timedelta(days=1, hours=1)).isoformat()
    assert record(tmp_path)["holdout"]["users"] == 7  # whose first item comes more than 1.0416 days after the cut


def test_equal_inputs_give_equal_records(ask: Callable[..., Decision], tmp_path: Path) -> None:
    ask()
    first = [(tmp_path / "gate" / name).read_bytes() for name in RECORD]
    ask(out=tmp_path / "elsewhere")
    assert [(tmp_path / "elsewhere" / name).read_bytes() for name in RECORD] == first


def test_the_page_shows_numbers_guardrails_and_digests(
    ask: Callable[..., Decision], models: tuple[Path, Path], tmp_path: Path
) -> None:
    decision = ask()
    page = (tmp_path / "gate/decision.md").read_text()
    assert page.startswith(f"# Gate: {decision.outcome}\n")
    assert "| **ndcg_at_10** |" in page and "| invalid items | pass |" in page
    assert digest(models[0]) in page and digest(models[1]) in page and "c0ffee" in page
    assert "cold_interactions 20" in page


def test_the_same_model_is_refused(ask: Callable[..., Decision], models: tuple[Path, Path]) -> None:
    decision = ask(challenger=models[0])
    assert decision.outcome == "refuse"
    assert "the same model" in decision.reasons[0]


def test_equal_weights_under_another_date_are_a_tie(
    ask: Callable[..., Decision], models: tuple[Path, Path], damaged: tuple[Path, Path]
) -> None:
    date(damaged[0], CUT)
    decision = ask(champion=models[0], challenger=damaged[0])
    assert decision.outcome == "refuse" and decision.reasons[0].startswith("A tie")


def test_without_a_champion_only_a_bootstrap_promotes(ask: Callable[..., Decision], tmp_path: Path) -> None:
    assert ask(champion=None).outcome == "refuse"
    assert ask(champion=None, bootstrap=True).outcome == "promote"
    assert record(tmp_path)["champion"] is None and record(tmp_path)["bootstrap"] is True
    assert "challenger_rank" in pl.read_parquet(tmp_path / "gate/ranks.parquet").columns


def test_nobody_came_back_is_refused(ask: Callable[..., Decision], tmp_path: Path) -> None:
    log = write_log(tmp_path / "old.parquet", [event("u", "i0", -1), event("new", "i1", 1)])
    decision = ask(interactions=log)
    assert decision.outcome == "refuse"
    assert "there is nothing to go by" in decision.reasons[0]
    assert record(tmp_path)["holdout"]["left_out"] == 1


def test_too_few_users_are_underpowered(ask: Callable[..., Decision], tmp_path: Path) -> None:
    log = write_log(tmp_path / "few.parquet", [event(user, "i0", day) for user in "abc" for day in (-1, 1)])
    decision = ask(interactions=log)
    assert decision.outcome == "underpowered" and not decision.promotes


def test_a_user_whose_items_no_model_knows_is_judged_like_the_others(
    ask: Callable[..., Decision], log: Path, tmp_path: Path
) -> None:
    more = [event("stranger", "unheard of", -1), event("stranger", "i0", 1)]
    extra = pl.read_parquet(write_log(tmp_path / "extra.parquet", more))
    pl.concat([pl.read_parquet(log), extra]).write_parquet(tmp_path / "both.parquet")
    assert ask(interactions=tmp_path / "both.parquet").outcome != "error"
    ranks = pl.read_parquet(tmp_path / "gate/ranks.parquet").filter(user_id="stranger")
    assert ranks["champion_rank"].item() <= 5 and ranks["challenger_rank"].item() <= 5  # five items were met


def test_an_item_that_is_gone_from_the_shop_is_invalid(ask: Callable[..., Decision], tmp_path: Path) -> None:
    decision = ask(items=write_items(tmp_path / "fewer.parquet", ["i0", "i1", "i2"]))
    assert decision.outcome == "refuse"
    assert any("Guardrail invalid items" in reason for reason in decision.reasons)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def truncate(folder: Path) -> None:
    path = folder / "model/model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def other_space(folder: Path) -> None:
    from dataclasses import replace

    factors = cf_factors.load(folder / bundle.FACTORS)
    cf_factors.save(folder / bundle.FACTORS, replace(factors, space_id="1" * 16))
    bundle.seal(folder)


def nan_weights(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "model/model.safetensors"
    save_file({name: torch.full_like(tensor, np.nan) for name, tensor in load_file(path).items()}, path)
    bundle.seal(folder)


def other_catalogue(folder: Path) -> None:
    path = folder / bundle.CATALOGUE
    pl.read_parquet(path).head(3).write_parquet(path)
    bundle.seal(folder)


def other_language_model(folder: Path) -> None:
    config = read_json(folder / "model/config.json")
    write_json(folder / "model/config.json", config | {"language_model_sha256": "f" * 64})
    bundle.seal(folder)


BREAKAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "no Item-Language Model is here"),
    "missing factors": (remove("cf.safetensors"), "cf.safetensors is missing"),
    "missing weights": (remove("model/model.safetensors"), "model/model.safetensors is missing"),
    "truncated weights": (truncate, "model/model.safetensors was changed"),
    "wrong space": (other_space, "made for CF space '0000000000000000'"),
    "NaN in the weights": (nan_weights, "nan"),
    "another catalogue": (other_catalogue, "its catalogue 3"),
    "another language model": (other_language_model, "trained with"),
    "no date": (lambda folder: date(folder, None), "does not say until when"),
    "no split": (lambda folder: (remove(bundle.SPLIT)(folder), bundle.seal(folder)), "does not say until when"),
}


@pytest.mark.parametrize("kind", BREAKAGES)
@pytest.mark.parametrize("side", ["champion", "challenger"])
def test_a_broken_folder_is_an_error_with_its_reason(
    ask: Callable[..., Decision], damaged: tuple[Path, Path], tmp_path: Path, kind: str, side: str
) -> None:
    damage, said = BREAKAGES[kind]
    folder = damaged[side == "challenger"]
    damage(folder)
    decision = ask(**{side: folder})
    assert decision.outcome == "error" and not decision.promotes
    assert said.lower() in decision.reasons[0].lower()
    assert record(tmp_path)["outcome"] == "error"
    assert "# Gate: error" in (tmp_path / "gate/decision.md").read_text()
    assert "Traceback" in (tmp_path / "gate/error.txt").read_text()


@pytest.mark.parametrize("what", ["interactions", "items"])
def test_a_missing_table_is_an_error(ask: Callable[..., Decision], tmp_path: Path, what: str) -> None:
    decision = ask(**{what: tmp_path / "nowhere.parquet"})
    assert decision.outcome == "error" and "nowhere.parquet" in decision.reasons[0]


@pytest.mark.parametrize(
    "error", [RuntimeError("out of luck"), MemoryError("no more"), pl.exceptions.PanicException("oh")]
)
def test_any_exception_is_an_error_with_its_traceback_kept(
    ask: Callable[..., Decision], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(gate_judge, "decide", fail)
    decision = ask()
    assert decision.outcome == "error" and type(error).__name__ in decision.reasons[0]
    assert type(error).__name__ in (tmp_path / "gate/error.txt").read_text()
    assert record(tmp_path)["holdout"]["users"] == 12  # as far as it came


def test_an_interrupt_is_no_decision(ask: Callable[..., Decision], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate_judge, "decide", stop)
    with pytest.raises(KeyboardInterrupt):
        ask()


def test_a_comparison_that_is_killed_leaves_no_earlier_decision(
    ask: Callable[..., Decision], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(champion=None, bootstrap=True).promotes
    test_an_interrupt_is_no_decision(ask, monkeypatch)
    assert list((tmp_path / "gate").glob("decision*")) == []


def test_an_earlier_error_does_not_lie_beside_a_later_decision(
    ask: Callable[..., Decision], tmp_path: Path, damaged: tuple[Path, Path]
) -> None:
    ask(champion=tmp_path / "nowhere")
    assert (tmp_path / "gate/error.txt").exists()
    ask()
    assert not (tmp_path / "gate/error.txt").exists()
