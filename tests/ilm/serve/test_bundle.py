"""The folder of a model: whole, unchanged and nothing else in it, or refused with one message."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ilm import ItemLanguageModel
from ilm.errors import ArtifactError
from ilm.files import read_json, write_json
from ilm.serve.bundle import fitted_until, seal

FILES = [
    "model/model.safetensors", "model/config.json", "model/history.json", "cf.safetensors", "catalogue.parquet",
    "user_ids.parquet", "sequences.parquet",
]  # fmt: skip


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def test_the_folder_holds_these_files_and_a_list_of_them(model_folder: Path) -> None:
    found = {path.relative_to(model_folder).as_posix() for path in model_folder.rglob("*") if path.is_file()}
    assert found == {*FILES, "config.json", "README.md"}
    assert read_json(model_folder / "config.json")["files"].keys() == set(FILES)


@pytest.mark.parametrize("name", [*FILES, "README.md"])
def test_a_missing_file_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        ItemLanguageModel.from_pretrained(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_garbled_file_is_refused_by_name(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name} was changed"):
        ItemLanguageModel.from_pretrained(folder)


def test_a_file_too_many_is_refused_by_name(folder: Path) -> None:
    (folder / "model" / "pickle.bin").write_bytes(b"surprise")
    with pytest.raises(ArtifactError, match=r"model/pickle\.bin does not belong there"):
        ItemLanguageModel.from_pretrained(folder)


def test_all_that_is_wrong_is_said_at_once(folder: Path) -> None:
    (folder / "cf.safetensors").unlink()
    (folder / "surprise").touch()
    with pytest.raises(ArtifactError, match="cf.safetensors is missing; surprise does not belong there"):
        ItemLanguageModel.from_pretrained(folder)


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"format": "item-language-model/9", "files": {}}'])
def test_a_list_of_files_that_is_none_is_refused(folder: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(ArtifactError, match=r"config\.json"):
        ItemLanguageModel.from_pretrained(folder)


def test_a_folder_without_a_model_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no Item-Language Model is here"):
        ItemLanguageModel.from_pretrained(tmp_path / "nowhere")


def test_files_of_different_catalogues_are_refused(folder: Path) -> None:
    import pyarrow.parquet as pq

    catalogue = folder / "catalogue.parquet"
    pq.write_table(pq.read_table(catalogue).slice(0, 3), catalogue)
    seal(folder)
    with pytest.raises(ArtifactError, match="knows 8 items, its catalogue 3"):
        ItemLanguageModel.from_pretrained(folder)


def test_a_language_model_that_is_another_is_refused(folder: Path) -> None:
    config = read_json(folder / "model/config.json")
    write_json(folder / "model/config.json", config | {"language_model_sha256": "f" * 64})
    seal(folder)
    with pytest.raises(ArtifactError, match="trained with"):
        ItemLanguageModel.from_pretrained(folder)


def test_the_card_says_what_the_model_is_and_may_be_edited(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    said = (
        "4 interactions of 3 users with 7 items", "qformer (cf_tokens 2,", "SHA-256",
        "Next item of 3 users, split `leave_one_out`",
        "| with the history shown | ilm | 0.2500 (0.1000 to 0.4000) | 0.1250 (0.1000 to 0.4000) |",
        "| from the user's vector alone | als | 0.2500 | 0.1250 |",
        "| less active users | 2 | 0.5000 |", "## Known limits",
        r"| Placeholders | `<\|item\|>` and `<\|user\|>`: ", "The language model: `lm`, under its own licence",
        "Made up, for tests.", "['Heat (1995)', 'Ronin (1998)']",
    )  # fmt: skip
    assert [words for words in said if words not in card] == []
    (folder / "README.md").write_text("Ours.")
    again = folder.parent / "again"
    ItemLanguageModel.from_pretrained(folder).save_pretrained(again)
    assert (again / "README.md").read_text() == "Ours."


def test_the_moment_until_which_the_model_has_seen_the_log_is_handed_on(folder: Path) -> None:
    write_json(folder / "split.json", {"strategy": "global_time", "fitted_until": "2016-10-16T19:57:24+02:00"})
    seal(folder)
    again = folder.parent / "again"
    ItemLanguageModel.from_pretrained(folder).save_pretrained(again)
    assert fitted_until(again) == datetime(2016, 10, 16, 17, 57, 24, tzinfo=UTC)
    assert (again / "split.json").read_bytes() == (folder / "split.json").read_bytes()


@pytest.mark.parametrize(
    "split",
    [None, [], {}, {"fitted_until": None}, {"fitted_until": "yesterday"}, {"fitted_until": "2016-10-16T19:57:24"}],
)
def test_a_folder_that_does_not_say_so_is_refused_to_who_asks(folder: Path, split: object) -> None:
    if split is not None:
        write_json(folder / "split.json", split)
    with pytest.raises(ArtifactError, match="does not say until when"):
        fitted_until(folder)
