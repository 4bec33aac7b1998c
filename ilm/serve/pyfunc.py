"""The MLflow face of a bundle (models from code): the one file of `ilm` that knows MLflow.

MLflow copies this file into the model and runs it at load. One row in = one request; k rows out per request. All rows
of a frame are answered together.
"""

from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from ilm.errors import LookupFailed

COLUMNS = ("user_id", "history", "k", "exclude", "where")
PASS = 256
"""Rows whose scores of the whole catalogue are held at once."""


class IlmModel(PythonModel):
    """Recommends from the artifact `bundle`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle."""
        from ilm.serve.item_language_model import ItemLanguageModel

        self.model = ItemLanguageModel.from_pretrained(context.artifacts["bundle"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Recommend for each row: it has a `user_id` or a `history` (titles or item ids, oldest first).

        It may have `k`; `exclude`, titles or item ids to leave out; and `where`, what must hold of the items, such as
        `{"genres": {"any": ["Comedy"]}}`. Cells may be empty: rows of one frame may ask in different ways.

        Returns:
            row (position of the request), rank (from 1), item_id, title, score.

        Raises:
            MlflowException: a row has neither user nor history, or both, or names what is unknown; it is told which
                row. MLflow's server answers 400 then.
        """
        questions = [self._question(row, request) for row, request in enumerate(model_input.to_dict(orient="records"))]
        passes = [questions[start : start + PASS] for start in range(0, len(questions), PASS)]
        answers = [
            (row, rank, item.item_id, item.title, item.score)
            for row, reply in enumerate(reply for chunk in passes for reply in self.model.answer(chunk))
            for rank, item in enumerate(reply.items, start=1)
        ]
        return pd.DataFrame(answers, columns=["row", "rank", "item_id", "title", "score"])

    def _question(self, row: int, request: dict[str, Any]) -> Any:
        user_id, history, k, exclude, where = (_given(request.get(name)) for name in COLUMNS)
        try:
            return self.model.questions.recommendation(
                user=user_id,
                history=_items("history", history),
                k=10 if k is None else _count(k),
                exclude=_items("exclude", exclude) or (),
                where=None if where is None else _constraints(where),
            )
        except LookupFailed as error:  # its own words: hints that name other users are not for who asks a server
            raise MlflowException.invalid_parameter_value(f"row {row}: {error.args[0]}") from None


def _given(value: Any) -> Any:
    """A cell's value; None where the cell is empty, which pandas may write as None, NaN or NA."""
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def _items(column: str, value: Any) -> list[str] | None:
    if isinstance(value, str | dict) or not (value is None or pd.api.types.is_list_like(value)):
        raise LookupFailed(f"{column} is {value!r}; it must be a list of titles or item ids.")
    return None if value is None else [str(entry) for entry in value]


def _count(value: Any) -> int:
    """A whole number, which is a float where other rows have none."""
    if not pd.api.types.is_number(value) or value % 1 != 0:
        raise LookupFailed(f"k is {value!r}; it must be a whole number.")
    return int(value)


def _constraints(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LookupFailed(f"where is {value!r}; it must be an object such as {{'genres': {{'any': ['Comedy']}}}}.")
    return value


mlflow.models.set_model(IlmModel())
