"""What the task `title` answers with: titles, or index strings that the model's card can give again."""

from pathlib import Path

import pytest
from small_logs import FakeStep

from ilm.model.storage import load_bridge
from ilm.params import load_params
from ilm.prompts.indexes import spoken_names
from ilm.train import stage2
from tasks import finetune, paths, pretrain
from tests.tiny_project import ITEMS, write_project


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, names: str) -> tuple[int | None, set[str]]:
    """The card's seed, and all answers that training of the task `title` alone has learned."""
    learned: set[str] = set()
    shares = stage2.Stage2._shares

    def watched(self, examples, part):
        learned.update(piece for example in examples for turn in example.turns for piece in turn.answer)
        return shares(self, examples, part)

    monkeypatch.setattr(stage2.Stage2, "_shares", watched)
    settings = {"mixture": {"title": 1.0}, "names": names, "seed": 9}
    monkeypatch.chdir(write_project(folder / "project", pretrain={"recipe": "none"}, finetune=settings))
    step = FakeStep(load_params())
    pretrain.run(step)
    finetune.run(step)
    return load_bridge(paths.FINETUNED)[1].index_seed, learned


def test_index_strings_are_learned_and_the_card_gives_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed, learned = trained(tmp_path, monkeypatch, "index")
    assert seed == 9
    assert len(learned) > 3
    assert learned <= {f" {name}" for name in spoken_names([""] * ITEMS, seed)}


def test_titles_are_learned_unless_asked_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, learned = trained(tmp_path, monkeypatch, "title")
    assert seed is None
    assert learned
    assert all(answer.startswith((" comedy ", " horror ")) for answer in learned)
