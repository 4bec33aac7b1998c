"""A user's folder of logs, small and made up, and a step that needs no tracking store."""

from pathlib import Path

import polars as pl

from ilm.params import Params

USERS, ITEMS, HISTORY = 12, 10, 8

PARAMS = Params.model_validate(
    {
        "data": {"source": "folder", "folder": "data/raw", "settle_seconds": 0},
        "validate": {"min_users": 5, "min_items": 5, "min_interactions": 50},
        "split": {"min_user_interactions": 3, "min_item_interactions": 2},
    }
)


class FakeStep:
    """What `run` is given, without MLflow; keeps the metrics."""

    def __init__(self, params: Params = PARAMS) -> None:
        self.params = params
        self.metrics: dict[str, float] = {}

    def log_metrics(self, values: dict[str, float], at: int | None = None) -> None:
        self.metrics |= values

    def elapsed(self) -> float:
        return 0.0


def write_logs(folder: Path, users: int = USERS) -> None:
    """Every user meets `HISTORY` of the items, a minute apart, each starting at another one."""
    rows = [
        (f"u{u:02}", f"i{(u + n) % ITEMS}", 1_600_000_000 + 3600 * u + 60 * n)
        for u in range(users)
        for n in range(HISTORY)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "logs").mkdir(exist_ok=True)
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(folder / "interactions.csv")
    items = [(f"i{n}", f"Film {n} (20{n:02})", "Drama|War") for n in range(ITEMS)]
    pl.DataFrame(items, schema=["item_id", "title", "genres"], orient="row").write_csv(folder / "items.csv")


def with_params(**sections: dict[str, object]) -> Params:
    """PARAMS with some settings changed, by section."""
    raw = PARAMS.model_dump(by_alias=True)
    return Params.model_validate({name: values | sections.get(name, {}) for name, values in raw.items()})
