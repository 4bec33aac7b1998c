"""`make demo-retrain`: the built-in log as if it were still arriving, month by month, and the schedule at work on it.

The last part of the log is held back by time. A clone of the last commit, in `.demo/`, trains on the rest; then the
schedule is started in it, and each month's interactions are dropped into `data/logs`, with a few broken lines that are
planted to be seen at the door, and some lines of the month before once more. The working copy is not touched.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from benchmarks.demo_table import line, read_decision, write_table
from flows.retrain import RUNS
from ilm.data.movielens import NOTICE, movielens_small
from ilm.data.raw import ROW
from ilm.errors import IlmError
from tasks.process import end_with

FOLDER, RESULTS = Path(".demo/retrain"), Path("reports/demo-retrain")
SETTINGS: dict[str, dict[str, Any]] = {
    "data": {"source": "folder", "settle_seconds": 2},
    "split": {"strategy": "global_time", "valid_fraction": 0.05, "test_fraction": 0.1},
    "evaluate": {"conversation_users": 10},
}
"""What differs from params.yaml: the source, the cut in time that a gate needs, and shorter conversations."""
REPEATED = 20
"""Lines of the month before that stand in a drop again."""
BROKEN = (
    {"user_id": None, "item_id": "1", "timestamp": "2016-01-01T00:00:00"},
    {"user_id": "1", "item_id": "1", "timestamp": "yesterday"},
    {"user_id": "1", "item_id": "1", "timestamp": "2999-01-01T00:00:00"},
)
PATIENCE = 3600.0
"""Seconds to wait for a retrain to end."""


@dataclass(frozen=True)
class Drop:
    """A month that was held back."""

    month: str
    interactions: pl.DataFrame
    """user_id, item_id, timestamp (ISO), rating."""
    items: pl.DataFrame
    """Those that were not met before: item_id, title, genres."""


def main() -> None:
    """Train, replay, print the table and write it to reports/demo-retrain."""
    arguments = _arguments()
    project = FOLDER.resolve()
    drops = prepare(project, arguments.since, arguments.set)
    ilm(project, "train", "--bootstrap")
    lines: list[dict[str, Any]] = []
    with schedule(project):
        for before, drop in zip([None, *drops], drops, strict=False):
            known = set(runs(project))
            put(project, drop, before)
            run = wait_for_run(project, known)
            gate = read_decision(project / RUNS / run["run"] / "gate")
            lines.append(line(drop.month, len(drop.items), run, gate))
            table = write_table(RESULTS, lines)  # after each, so that an interrupted demonstration has shown something
            print(f"demo  {drop.month}  {'; '.join((run['outcome'], *run['reasons']))}", flush=True)
    print(f"\n{table}\nresults  {RESULTS}")


def prepare(project: Path, since: str, overrides: list[str]) -> list[Drop]:
    """Clone the last commit, with the log before the month `since` as its source. Gives the rest, by month.

    Raises:
        IlmError: the folder is there already, or holds no month.
    """
    if project.exists():
        raise IlmError(
            f"{project}: is there already, with what the last demonstration left. Look at it, then delete it."
        )
    log, items = _built_in()
    # What has no title would be set aside: too much of a small drop, and the gate stops at what was done with it.
    items = items.filter(pl.col("title").fill_null("").str.strip_chars() != "")
    log = log.join(items, on="item_id", how="semi", maintain_order="left")
    kept, rest = log.filter(pl.col("month") < since), log.filter(pl.col("month") >= since)
    if kept.is_empty() or rest.is_empty():
        raise IlmError(f"--since {since}: the log has the months {log['month'][0]} to {log['month'][-1]}.")
    _git(Path.cwd(), "clone", "--quiet", "--local", ".", str(project))
    settings = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    for section, values in SETTINGS.items():
        settings[section] |= values
    for override in overrides:
        name, _, value = override.partition("=")
        section, _, key = name.partition(".")
        settings[section][key] = yaml.safe_load(value)
    (project / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    _git(project, "-c", "user.name=demo", "-c", "user.email=demo@localhost", "commit", "-qam", "settings of the demo")
    raw = project / "data/raw"
    kept.drop("month").write_csv(raw / "interactions.csv")
    items.join(kept, on="item_id", how="semi").write_csv(raw / "items.csv")
    (raw / "NOTICE").write_text(NOTICE + "\n", encoding="utf-8")
    drops, known = [], kept
    for month in rest["month"].unique(maintain_order=True).to_list():
        rows = rest.filter(month=month)
        new = items.join(rows, on="item_id", how="semi").join(known, on="item_id", how="anti")
        drops.append(Drop(month, rows.drop("month"), new))
        known = pl.concat([known, rows])
    print(f"demo  {len(kept):,} interactions before {since}, {len(rest):,} in {len(drops)} months to come", flush=True)
    return drops


def put(project: Path, drop: Drop, before: Drop | None) -> None:
    """Drop a month's files, whole or not at all: the interactions last, so that their items are known."""
    again = [] if before is None else [before.interactions.head(REPEATED)]
    broken = pl.DataFrame(BROKEN, schema_overrides={"user_id": pl.String}).with_columns(rating=pl.lit(None, pl.Float64))
    rows = pl.concat([drop.interactions, *again, broken.select(drop.interactions.columns)])
    for name, frame in (("items", drop.items), ("interactions", rows)):
        temporary = project / "data/logs" / f".{name}-{drop.month}.csv"
        frame.write_csv(temporary)
        temporary.rename(temporary.with_name(temporary.name[1:]))


@contextmanager
def schedule(project: Path) -> Iterator[None]:
    """Retrain on arrival of files, as long as this lasts."""
    ilm(project, "schedule", "--on-arrival")
    log = (project / ".ilm/demo.log").open("w")
    running = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "schedule", "--run"],
        cwd=project,
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=partial(end_with, os.getpid()),
    )
    try:
        yield
    finally:
        running.terminate()
        running.wait()
        log.close()


def runs(project: Path) -> list[str]:
    """Names of the retrains that have ended, oldest first."""
    return sorted(path.parent.name for path in (project / RUNS).glob("*/run.json"))


def wait_for_run(project: Path, known: set[str]) -> dict[str, Any]:
    """The record of the next retrain that ends.

    Raises:
        IlmError: none has ended in time.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for name in runs(project):
            if name not in known:
                return dict(json.loads((project / RUNS / name / "run.json").read_text(encoding="utf-8")))
        time.sleep(2)
    raise IlmError(f"no retrain has ended within {PATIENCE:.0f} s. See {project}/.ilm/demo.log.")


def ilm(project: Path, *words: str) -> None:
    """Run a command of the clone, with the clone's code."""
    done = subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=project)
    if done.returncode:
        raise IlmError(f"`ilm {' '.join(words)}` failed in {project}; its message is above.")


def _built_in() -> tuple[pl.DataFrame, pl.DataFrame]:
    source = movielens_small()
    assert source.interactions is not None
    moment = pl.from_epoch("timestamp")
    log = source.interactions.rows.drop(ROW).sort("timestamp", "user_id", "item_id")
    log = log.with_columns(
        pl.col("user_id", "item_id").cast(pl.String),
        month=moment.dt.strftime("%Y-%m"),
        timestamp=moment.dt.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    return log, source.items.rows.drop(ROW).with_columns(pl.col("item_id").cast(pl.String))


def _git(folder: Path, *words: str) -> None:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise IlmError(f"git {words[0]} failed in {folder}: {done.stderr.strip()}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", default="2015-07", help="First month to be held back. Default: %(default)s.")
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE", help="Other settings.")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except IlmError as error:
        sys.exit(f"error: {error}")
