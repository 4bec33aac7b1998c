"""A registry with a few versions and nothing in them, made in a blink; and a command that is killed after a write."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from flows import ledger as ledgers
from flows.ledger import FILE, TAG, Ledger
from flows.registry_store import Registry
from flows.version import DIGEST
from tests.conftest import put_store

WRITES = (
    "create_registered_model",
    "delete_registered_model",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)


def make_registry(home: Path, empty_store: Path, versions: int = 3) -> Registry:
    """A project with versions 1, 2, … whose digests are d1, d2, …, and no champion."""
    home.mkdir()
    (home / "params.yaml").write_text("")
    put_store(empty_store, home)
    registry = Registry.open(home)
    registry.client.create_registered_model(registry.name)
    for number in range(1, versions + 1):
        run = registry.client.create_run("1").info.run_id
        registry.client.log_metric(run, "sequential.filtered.ndcg_at_10", number / 10)
        registry.client.create_model_version(registry.name, "nowhere", run, tags={DIGEST: f"d{number}"})
    return registry


def copy_project(made: Path, home: Path) -> Registry:
    """A copy of a project and its registry, which holds absolute paths everywhere."""
    shutil.copytree(made, home, symlinks=True)
    with sqlite3.connect(home / "mlflow.db") as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    change = f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)"
                    database.execute(change, (str(made), str(home), str(made)))
    database.close()
    _artifact_repos_cache.clear()  # by run id: it would lead to the first copy
    return Registry.open(home)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Killer:
    """Counts the writes to registry and ledger, and raises after one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[str] = []
        self.after: int | None = None
        for name in WRITES:
            monkeypatch.setattr(MlflowClient, name, self._counted(name, getattr(MlflowClient, name)))
        monkeypatch.setattr(ledgers, "append_line", self._counted("append_line", ledgers.append_line))

    def kill(self, after: int, command: Callable[[], object]) -> bool:
        """Run a command and kill it after that many writes. False if it ended before."""
        self.written, self.after = [], after
        try:
            command()
        except Killed:
            return True
        finally:
            self.after = None
        return False

    def _counted(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            done = write(*arguments, **options)
            self.written.append(name)
            if len(self.written) == self.after:
                raise Killed
            return done

        return counted


def assert_consistent(home: Path, registry: Registry) -> None:
    """Ledger and registry say the same, nothing is half done, and nothing is left lying about."""
    lines = (home / FILE).read_text().splitlines()
    tags = {key: value for key, value in registry.tags().items() if key.startswith(TAG)}
    assert lines == [tags[key] for key in sorted(tags)]
    entries = Ledger(home, registry).entries()
    assert entries[-1].kind != "intent"
    assert entries[-1].after == registry.serving()
    assert not [model.name for model in registry.client.search_registered_models() if "--promotion-" in model.name]
