"""The MLflow face of a bundle (models from code): the one file of `ilm` that knows MLflow.

MLflow copies this file into the model and runs it at load. One row in = one request; k rows out per request. All rows
of a frame are answered together.
"""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class IlmModel(PythonModel):
    """Recommends from the artifact `bundle`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle."""
        from ilm.serve.item_language_model import ItemLanguageModel

        self.model = ItemLanguageModel.from_pretrained(context.artifacts["bundle"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Recommend for each row: it has a `user_id` or a `history` (titles or item ids, oldest first), maybe `k`.

        Returns:
            row (position of the request), rank (from 1), item_id, title, score.

        Raises:
            LookupFailed: a row has neither or both, or names somebody or something unknown.
        """
        ask = self.model.questions.recommendation
        questions = []
        for request in model_input.to_dict(orient="records"):
            user_id, history, k = (_given(request.get(name)) for name in ("user_id", "history", "k"))
            questions.append(ask(user=user_id, history=history, k=10 if k is None else int(k)))
        answers = [
            (row, rank, item.item_id, item.title, item.score)
            for row, reply in enumerate(self.model.answer(questions))
            for rank, item in enumerate(reply.items, start=1)
        ]
        return pd.DataFrame(answers, columns=["row", "rank", "item_id", "title", "score"])


def _given(value: Any) -> Any:
    """A cell's value; None where the cell is empty, which pandas may write as None, NaN or NA."""
    if pd.api.types.is_scalar(value):
        return None if pd.isna(value) else value
    return [str(entry) for entry in value]


mlflow.models.set_model(IlmModel())
