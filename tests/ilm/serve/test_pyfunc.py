"""The MLflow face of a real tiny model, saved and loaded by MLflow with the signature of registered versions."""

import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from flows.version import PIPELINE, pyfunc_arguments
from ilm import ItemLanguageModel
from ilm.serve import pyfunc
from tests.ilm.serve.conftest import GENRES, TITLES


@pytest.fixture(scope="module")
def served(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> mlflow.pyfunc.PyFuncModel:
    folder = tmp_path_factory.mktemp("pyfunc")
    for name in PIPELINE:
        (folder / name).touch()
    (folder / "inputs").mkdir()
    bundle = Path(shutil.copytree(model_folder, folder / "bundle"))
    mlflow.pyfunc.save_model(folder / "saved", **pyfunc_arguments(folder, bundle, folder / "inputs"))
    return mlflow.pyfunc.load_model(str(folder / "saved"))


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ItemLanguageModel:
    return ItemLanguageModel.from_pretrained(model_folder)


def test_it_answers_its_own_example(served):
    assert served.predict(served.input_example)["rank"].to_list() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("rows_at_once", [1, 256])
def test_rows_of_all_kinds_are_answered_in_their_order_as_the_model_would(served, model, rows_at_once, monkeypatch):
    inside = served.unwrap_python_model()
    monkeypatch.setitem(type(inside).predict.__globals__, "PASS", rows_at_once)
    requests = [
        {"user_id": "alice", "k": 2},
        {"history": ["Heat (1995)", "i1"]},
        {"history": ["i3"], "k": 9, "exclude": ["i6", "Heat (1986)"]},
        {"user_id": "bob", "where": {"genres": {"any": ["Drama"]}}},
    ]
    found = served.predict(pd.DataFrame(requests))  # with empty cells, as MLflow's server makes them of JSON
    wanted = [
        model.rank(user="alice", k=2),
        model.rank(history=["Heat (1995)", "i1"]),
        model.rank(history=["i3"], k=9, exclude=["i6", "i2"]),
        model.rank(user="bob", where={"genres": {"any": ["Drama"]}}),
    ]
    for row, items in enumerate(wanted):
        part = found[found["row"] == row]
        assert part["item_id"].to_list() == [item.item_id for item in items]
        assert part["score"].to_list() == pytest.approx([item.score for item in items], abs=1e-4)
    dramas = {title for title, genres in zip(TITLES, GENRES, strict=True) if genres and "Drama" in genres}
    assert set(found[found["row"] == 3]["title"]) <= dramas


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"user_id": "alicia"}, "row 1: user 'alicia' is not among the 3 users of this model"),
        ({"k": 3}, "row 1: give either a user id or a history"),
        ({"user_id": "bob", "history": ["i0"]}, "row 1: give either a user id or a history"),
        ({"user_id": "bob", "k": 0}, "row 1: k is 0"),
        ({"user_id": "bob", "k": 2.5}, "row 1: k is 2.5; it must be a whole number"),
        ({"user_id": "bob", "k": "two"}, "row 1: k is 'two'"),
        ({"user_id": "bob", "k": float("inf")}, "row 1: k is inf"),
        ({"history": "Heat (1995)"}, "row 1: history is 'Heat (1995)'; it must be a list"),
        ({"history": 7}, "row 1: history is 7"),
        ({"user_id": "bob", "exclude": {"i1": 1}}, "row 1: exclude is {'i1': 1}; it must be a list"),
        ({"user_id": "bob", "where": "comedies"}, "row 1: where is 'comedies'; it must be an object"),
        ({"user_id": "bob", "where": {"mood": {"any": ["dark"]}}}, "row 1: no items have a 'mood'"),
        ({"user_id": "bob", "exclude": ["Heet"]}, "row 1: no item has the title or id 'Heet'"),
    ],
)
def test_a_mistake_is_told_with_its_row_and_names_no_other_user(served, request_, message):
    with pytest.raises(MlflowException) as said:
        served.predict(pd.DataFrame([{"user_id": "alice"}, request_]))
    assert message in str(said.value)
    assert "alice" not in str(said.value)


def test_the_columns_that_are_read_are_those_of_the_signature(served):
    assert tuple(served.metadata.get_input_schema().input_names()) == pyfunc.COLUMNS
