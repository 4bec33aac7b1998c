"""Scores from ranks, a small merged log, and two tiny models in the folders that they are handed on in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ilm.data import schema
from ilm.eval.metrics import per_user
from ilm.files import write_json
from ilm.gate.scores import Scores
from ilm.params import GateParams, Params
from ilm.serve import bundle
from tests.ilm.serve.conftest import make_model

CUT = datetime(2016, 1, 10, tzinfo=UTC)


def of_ranks(ranks: Any, rare: Any = (), **changes: Any) -> Scores:
    """Scores of users 0, 1, … who have a target each, with these ranks; the targets of the users `rare` are rare, a
    tenth of the items is shown."""
    ranks = np.asarray(ranks, dtype=np.int32)
    users = [f"u{number:06}" for number in range(len(ranks))]
    metrics = per_user(ranks) if len(ranks) else {}
    rare_targets = np.bincount(np.asarray(rare, dtype=np.int64), minlength=len(ranks))
    given = {"users": users, "metrics": metrics, "coverage": 0.1, "invalid_items": 0, "rare_targets": rare_targets}
    return Scores(**(given | {"rare_metrics": {name: of * rare_targets for name, of in metrics.items()}} | changes))


def gate(**changes: Any) -> GateParams:
    """Settings for few users, a target each, without guardrails but those that are named."""
    given: dict[str, Any] = {"samples": 1000, "min_users": 10, "targets": 1, "floors": {}, "min_coverage_ratio": 0.0}
    return GateParams(**(given | changes))


def event(user: str, item: str, day: float, **more: Any) -> dict[str, Any]:
    """An interaction so many days after the cut."""
    return {"user_id": user, "item_id": item, "timestamp": CUT + timedelta(days=day)} | more


def write_log(path: Path, events: list[dict[str, Any]]) -> Path:
    """The merged log."""
    schema.write_table(pl.DataFrame(events, schema=dict(schema.INTERACTIONS)), path)
    return path


def write_items(path: Path, ids: list[str]) -> Path:
    """Today's items."""
    schema.write_table(pl.DataFrame({"item_id": ids, "title": [f"Film {name}" for name in ids]}), path)
    return path


def date(folder: Path, until: datetime | None) -> None:
    """Say in a model's folder until when it has seen the log."""
    write_json(folder / bundle.SPLIT, {"strategy": "global_time", "fitted_until": until and until.isoformat()})
    bundle.seal(folder)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a champion, which has seen less of the log, and of a challenger; items i0 to i7, of which i5 is no
    longer active."""
    folders = [make_model(tmp_path_factory.mktemp(kind), kind) for kind in ("qformer", "mlp")]
    for folder, until in zip(folders, (CUT - timedelta(days=7), CUT), strict=True):
        date(folder, until)
    return folders[0], folders[1]


@pytest.fixture
def params() -> Params:
    """For the tiny models and the tiny log."""
    section = gate(min_users=5).model_dump()
    return Params.model_validate({"gate": section, "split": {"min_item_interactions": 1}})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Twelve users who met two items before the cut and one after it."""
    events = [
        event(f"u{user:02}", f"i{(user + step) % 5}", day)
        for user in range(12)
        for step, day in enumerate((-3.0, -1.0, 1.0 + user / 100))
    ]
    return write_log(tmp_path / "interactions.parquet", events)


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """All items of the models."""
    return write_items(tmp_path / "items.parquet", [f"i{number}" for number in range(8)])
