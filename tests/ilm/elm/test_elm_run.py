"""From features to a table of systems, on tiny models, by the functions and by the command line."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ilm.elm.__main__ import main
from ilm.elm.run_judging import BLIND, FLOOR, METRICS, SCORES, judge_systems
from ilm.elm.run_references import make_references
from ilm.elm.run_training import train_system
from ilm.errors import ArtifactError, DataError
from ilm.files import digest, read_json, write_json
from ilm.model.storage import load_bridge
from ilm.train.run_pretrain import PretrainInputs, run_pretrain
from ilm.train.settings import Settings

SYSTEMS = {"ilm": "qformer", "mlp": "mlp", "text-only": "text"}


@pytest.fixture(scope="module")
def encoders(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of encoders as stage 1 leaves them, untrained."""
    out = tmp_path_factory.mktemp("encoders")
    exported = read_json(features / "settings.json")["settings"]
    for kind in SYSTEMS.values():
        pretrain = exported["pretrain"] | {"recipe": "none"}
        run_pretrain(PretrainInputs.in_folder(features), out / kind, exported["model"] | {"encoder": kind}, pretrain,
                     out / "checkpoints")  # fmt: skip
    return out


@pytest.fixture
def references(features: Path, settings: Settings, tmp_path: Path) -> Path:
    make_references(features, tmp_path / "references", settings)
    return tmp_path / "references"


def trained(features: Path, references: Path, encoders: Path, settings: Settings, out: Path) -> dict[str, list[Path]]:
    for name, kind in SYSTEMS.items():
        own = settings | {"model": settings["model"] | {"encoder": kind}}
        train_system(features, references, encoders / kind, out / name, own, out / "checkpoints")
    return {name: [out / name] for name in SYSTEMS}


def test_systems_are_trained_and_judged_side_by_side(
    features: Path, references: Path, encoders: Path, settings: Settings, tmp_path: Path
) -> None:
    systems = trained(features, references, encoders, settings, tmp_path / "models")
    metrics = judge_systems(features, references, systems, tmp_path / "scores", settings)
    names = {"ilm", f"ilm{BLIND}", "mlp", f"mlp{BLIND}", "text-only", FLOOR}
    assert metrics["semantic_consistency"]["intervals"].keys() == names
    assert metrics["log_perplexity"]["intervals"].keys() == names - {FLOOR}
    assert len(metrics["log_perplexity"]["intervals"]["ilm"]) == 25
    assert len(set(metrics["plain_text_log_perplexity"].values())) == 1
    table = pq.read_table(tmp_path / "scores" / SCORES)
    assert len(table) == len(names) * 24 * 3
    assert read_json(tmp_path / "scores" / METRICS) == json.loads(json.dumps(metrics))
    assert load_bridge(tmp_path / "models" / "ilm")[1].recipe == "none"


def test_equal_input_gives_equal_bytes(
    features: Path, references: Path, encoders: Path, settings: Settings, tmp_path: Path
) -> None:
    for run in ("first", "second"):
        train_system(features, references, encoders / "qformer", tmp_path / run, settings, tmp_path / f"{run}-state")
        judge_systems(features, references, {"ilm": [tmp_path / run]}, tmp_path / f"{run}-scores", settings)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")
    assert digest(tmp_path / "first-scores") == digest(tmp_path / "second-scores")


def test_references_are_made_once_and_others_need_another_folder(
    features: Path, references: Path, settings: Settings
) -> None:
    before = (references / "references.json").stat().st_mtime_ns
    make_references(features, references, settings)
    assert (references / "references.json").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="Name a new folder"):
        make_references(features, references, settings | {"elm": settings["elm"] | {"max_answer_tokens": 5}})


def test_no_shards_are_left_behind(references: Path) -> None:
    assert [path.name for path in references.parent.iterdir()] == ["references"]


def test_given_texts_need_no_teacher(features: Path, settings: Settings, tmp_path: Path) -> None:
    rows = [{"task": "summary", "item_id": f"i{item}", "text": f"Text {item}."} for item in range(12)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = settings["elm"] | {"teacher": "file", "file": str(tmp_path / "texts.jsonl"), "teacher_model": "none"}
    made = make_references(features, tmp_path / "references", settings | {"elm": given})
    assert made.card["items"] == {"training": 3, "held_out": 3}
    assert all(text == f"Text {request.item}." for request, text in zip(made.requests, made.texts, strict=True))


def test_model_that_is_missing_or_of_another_space_is_named_before_any_is_judged(
    features: Path, references: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilm.elm.run_judging.judge", None)
    with pytest.raises(ArtifactError, match="none/config.json: not found"):
        judge_systems(features, references, {"ilm": [tmp_path / "none"]}, tmp_path / "scores", settings)
    write_json(tmp_path / "other" / "config.json", {"space_id": "0" * 16})
    with pytest.raises(ArtifactError, match="other: made for CF space"):
        judge_systems(features, references, {"ilm": [tmp_path / "other"]}, tmp_path / "scores", settings)


def test_nobody_to_judge_is_refused(features: Path, references: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no system"):
        judge_systems(features, references, {}, tmp_path / "scores", settings)


def test_command_line_makes_references_trains_and_judges(
    features: Path,
    encoders: Path,
    elm_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = [f"elm.teacher_model={elm_project / 'llama'}", f"elm.sentence_encoder={elm_project / 'bert'}",
             "elm.steps=2", "elm.items=1", "elm.held_out_items=2", "evaluate.bootstrap_samples=100"]  # fmt: skip
    common = ["--features", str(features), *(word for setting in small for word in ("--set", setting))]
    made = str(tmp_path / "references")
    encoder = str(encoders / "qformer")
    for words in (
        ["references", "--out", made],
        ["train", "--references", made, "--encoder", encoder, "--out", str(tmp_path / "ilm")],
        ["judge", "--references", made, "--system", f"ilm={tmp_path / 'ilm'}", "--out", str(tmp_path / "scores")],
    ):
        monkeypatch.setattr(sys, "argv", ["ilm.elm", *words, *common])
        main()
    printed = capsys.readouterr().out
    assert "72 texts" in printed
    names = [line.split(" | ")[0].removeprefix("| ") for line in printed.rstrip().splitlines()[-3:]]
    assert names == ["ilm", "ilm - soft tokens", FLOOR]


def test_mistake_at_the_command_line_is_one_message(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ilm.elm", "judge", "--features", str(features), "--references", "none",
                                      "--system", "ilm", "--out", str(tmp_path / "out")])  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: --system ilm: must be name=FOLDER")
