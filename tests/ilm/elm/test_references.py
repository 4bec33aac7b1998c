import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ilm.elm.asking import asked
from ilm.elm.features import ElmFeatures
from ilm.elm.plan import plan
from ilm.elm.references import CARD, TABLE, load_references, write_references
from ilm.elm.tasks import ALONE, Request
from ilm.errors import ArtifactError, DataError
from ilm.files import digest, read_json

IDENTITY: dict[str, str | int] = {"teacher": "echo"}


class Echo:
    """Answers with the question's own end; stops after some questions, as a killed process does."""

    def __init__(self, until: int = 10_000, name: str = "echo") -> None:
        self.asked, self._until = 0, until
        self.identity: dict[str, str | int] = {"teacher": name}

    def answer(self, questions: Sequence[str]) -> list[str]:
        if self.asked + len(questions) > self._until:
            raise KeyboardInterrupt
        self.asked += len(questions)
        return [question[-30:] for question in questions]


def requests_of(read: ElmFeatures) -> list[Request]:
    return plan(read.training, read.held_out, 2, 2, seed=0)


def write(folder: Path, read: ElmFeatures, teacher: Echo | None = None) -> None:
    known, requests = read.training.attributes, requests_of(read)
    texts = asked(folder, teacher or Echo(), [request.prompt(known) for request in requests])
    write_references(folder, requests, texts, known, IDENTITY)


def test_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, read: ElmFeatures) -> None:
    write(tmp_path / "whole", read)
    first, second = Echo(until=40), Echo()
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "killed", read, first)
    assert not (tmp_path / "killed").exists()
    write(tmp_path / "killed", read, second)
    assert (first.asked, second.asked) == (32, 96 - 32)
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


def test_answers_of_another_teacher_are_not_mixed_in(tmp_path: Path, read: ElmFeatures) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "refs", read, Echo(until=40))
    with pytest.raises(ArtifactError, match="another teacher"):
        write(tmp_path / "refs", read, Echo(name="other"))


@pytest.mark.parametrize("content", ["[]", "{", "3"])
def test_damaged_answers_are_named(content: str, tmp_path: Path, read: ElmFeatures) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "refs", read, Echo(until=40))
    (shard,) = tmp_path.glob(".refs-asked-*/000016.json")
    shard.write_text(content)
    with pytest.raises(ArtifactError, match="000016.json"):
        write(tmp_path / "refs", read)


def test_references_come_back_in_parts_sorted_with_their_card(tmp_path: Path, read: ElmFeatures) -> None:
    write(tmp_path / "refs", read)
    found = load_references(tmp_path / "refs", read.training, read.held_out)
    assert found.requests == sorted(requests_of(read))
    assert len(found.part(True).texts) == len(found.part(False).texts) == 48
    assert all(request.held_out for request in found.part(True).requests)
    assert found.card["items"] == {"training": 2, "held_out": 2}
    assert found.card["teacher"] == "echo"
    assert pq.read_table(tmp_path / "refs" / TABLE)["teacher"].unique().to_pylist() == ["echo"]


def test_item_with_an_empty_text_is_left_out_of_all_tasks_and_counted(tmp_path: Path, read: ElmFeatures) -> None:
    requests = requests_of(read)
    texts = ["text"] * len(requests)
    texts[5] = ""
    made = write_references(tmp_path / "refs", requests, texts, read.training.attributes, IDENTITY)
    assert len(made.texts) == len(requests) - 24
    assert (False, requests[5].item) not in {(request.held_out, request.item) for request in made.requests}
    assert read_json(tmp_path / "refs" / CARD)["left_out"] == {"training": 1, "held_out": 0}


def test_nothing_but_empty_texts_are_refused(tmp_path: Path, read: ElmFeatures) -> None:
    requests = requests_of(read)
    with pytest.raises(DataError, match="no other is left"):
        write_references(tmp_path / "refs", requests, [""] * len(requests), read.training.attributes, IDENTITY)


def test_changed_title_makes_references_stale(tmp_path: Path, read: ElmFeatures) -> None:
    write(tmp_path / "refs", read)
    read.training.attributes.titles[requests_of(read)[0].item] += "!"
    with pytest.raises(ArtifactError, match="answers another question"):
        load_references(tmp_path / "refs", read.training, read.held_out)


def test_texts_of_items_that_are_held_out_now_are_not_learned_from(tmp_path: Path, read: ElmFeatures) -> None:
    write(tmp_path / "refs", read)
    with pytest.raises(ArtifactError, match="part training are about 2 items that do not belong"):
        load_references(tmp_path / "refs", read.held_out, read.training)


def test_pair_with_a_held_out_item_is_not_learned_from(tmp_path: Path, read: ElmFeatures) -> None:
    learned, judged = int(read.training.items[0]), int(read.held_out.items[0])
    requests = [Request(False, "similarities", learned, judged), Request(True, "summary", judged, ALONE)]
    write_references(tmp_path / "refs", requests, ["a", "b"], read.training.attributes, IDENTITY)
    with pytest.raises(ArtifactError, match=f"item_index {judged}"):
        load_references(tmp_path / "refs", read.training, read.held_out)


def test_damaged_or_exchanged_table_is_refused(tmp_path: Path, read: ElmFeatures) -> None:
    write(tmp_path / "refs", read)
    table = tmp_path / "refs" / TABLE
    shutil.copyfile(table, tmp_path / "kept")
    pq.write_table(pq.read_table(table).slice(1), table)
    with pytest.raises(ArtifactError, match="not the table that the card"):
        load_references(tmp_path / "refs", read.training, read.held_out)
    table.write_bytes((tmp_path / "kept").read_bytes()[:100])
    with pytest.raises(ArtifactError, match="damaged"):
        load_references(tmp_path / "refs", read.training, read.held_out)
