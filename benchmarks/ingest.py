"""Reading new log files into the log store and merging the table, against just reading the files once.

`python -m benchmarks.ingest --rows 25000000` is the size of MovieLens 25M; `make bench` takes 2 million. Each
contestant is a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.timing import Result

FILE_ROWS = 1_000_000
USERS, ITEMS, DAYS = 160_000, 60_000, 730
LATE, REPEATED = 0.01, 0.01
"""Shares of a file's rows that fell on an earlier date, and that repeat the row before."""
START = datetime(2022, 1, 1, tzinfo=UTC)
TYPES = ["view", "cart", "buy"]


def run(rows: int = 2_000_000, forms: tuple[str, ...] = ("parquet",), event_ids: bool = False) -> Result:
    """Write the logs, read them, take them in. Several forms: the first gives the ratio.

    Args:
        rows: of all log files together.
        forms: of "parquet", "csv", "csv.gz", "jsonl".
        event_ids: whether every row has an event_id of 20 characters, by which duplicates are then known.
    """
    detail: dict[str, object] = {"rows": rows, "users": USERS, "items": ITEMS, "days": DAYS, "event_ids": event_ids}
    ratios = []
    for form in forms:
        with tempfile.TemporaryDirectory(prefix="ilm-bench-ingest-") as folder:
            write_logs(Path(folder) / "logs", rows, form, event_ids)
            once = measured("read", folder)
            ours = measured("ingest", folder)
        ratios.append(ours["seconds"] / once["seconds"])
        detail[form] = {
            "ratio": round(ratios[-1], 1),
            "read_once_seconds": round(once["seconds"], 2),
            "ingest_seconds": round(ours["seconds"], 2),
            "cpu_seconds": round(ours["cpu_seconds"], 2),
            "rows_per_second": round(rows / ours["seconds"]),
            "peak_mb": ours["peak_mb"],
            "read_once_peak_mb": once["peak_mb"],
            "again_seconds": round(ours["again_seconds"], 2),
        }
    return {
        "name": "ingest",
        "ratio": ratios[0],
        "goal": "1,000,000 rows/s on 2 cores, under 2,000 MB at 25 million rows",
        "detail": detail,
    }


def write_logs(folder: Path, rows: int, form: str, event_ids: bool) -> None:
    """One file after the other, each of the days that follow those of the file before."""
    folder.mkdir()
    starts = range(0, rows, FILE_ROWS)
    window = DAYS * 86_400 // len(starts)
    for number, start in enumerate(starts):
        rng = np.random.default_rng(number)
        count = min(FILE_ROWS, rows - start)
        seconds = number * window + rng.integers(0, window, count)
        late = rng.random(count) < LATE
        seconds[late] = rng.integers(0, (number + 1) * window, int(late.sum()))
        moment = int(START.timestamp()) + np.sort(seconds)
        log = pl.DataFrame(
            {
                "user_id": rng.integers(0, USERS, count),
                "item_id": (rng.pareto(1.1, count) * 300).astype(np.int64) % ITEMS,
                "timestamp": moment,
                "rating": rng.integers(1, 6, count).astype(np.float32),
                "event_type": pl.Series(rng.integers(0, len(TYPES), count)).replace_strict(
                    range(len(TYPES)), TYPES, return_dtype=pl.String
                ),
            }
        )
        if event_ids:
            log = log.with_columns(
                event_id=pl.format("{}-{}", pl.lit(f"{number:04}"), pl.Series(_hexadecimal(rng, count)))
            )
        rows_of_file = np.maximum(np.arange(count) - (rng.random(count) < REPEATED), 0)
        path = folder / f"{number:04}.{form}"
        _write(log[rows_of_file], path)


def _hexadecimal(rng: np.random.Generator, count: int) -> list[str]:
    """Different texts of 15 characters."""
    drawn = rng.bytes(5 * count).hex()
    return [f"{drawn[10 * n : 10 * n + 10]}{n:05x}" for n in range(count)]


def measured(what: str, folder: str) -> dict[str, float]:
    """Run a contestant in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--measure", what, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def read_once(folder: Path) -> None:
    """The floor: every file parsed, nothing kept."""
    for path in sorted((folder / "logs").iterdir()):
        if path.suffix == ".parquet":
            pl.read_parquet(path)
        elif ".csv" in path.suffixes:
            pl.read_csv(path)
        else:
            pl.read_ndjson(path)


def take_in(folder: Path) -> None:
    """What step `ingest` does with log files, beside reading the source."""
    from ilm.data.logs.files import find
    from ilm.data.logs.merged import write_merged
    from ilm.data.logs.update import update
    from ilm.data.schema import INTERACTIONS
    from ilm.params import DataParams

    params = DataParams(logs=str(folder / "logs"), settle_seconds=0)
    found = find(folder / "logs", params.settle_seconds)
    now = START + timedelta(days=DAYS + 1)
    updated = update(found.logs, folder / "store", params, datetime(1990, 1, 1, tzinfo=UTC), now)
    catalogue = pl.Series([str(item) for item in range(ITEMS)])
    tables = folder / "interactions.parquet", folder / "kept_aside.parquet"
    write_merged(pl.DataFrame(schema=dict(INTERACTIONS)), updated.store, catalogue, *tables)


def _write(log: pl.DataFrame, path: Path) -> None:
    import gzip

    if path.suffix == ".parquet":
        log.write_parquet(path, row_group_size=1 << 17)
        return
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    log.write_csv(plain) if plain.suffix == ".csv" else log.write_ndjson(plain)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=6))
        plain.unlink()


def _measure(what: str, folder: Path) -> None:
    """In the process of a contestant: run it, and print what it cost as JSON."""
    from tasks.process import peak_memory_mb

    started, cpu = time.perf_counter(), time.process_time()
    (read_once if what == "read" else take_in)(folder)
    cost = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    cost["peak_mb"] = round(peak_memory_mb())
    if what == "ingest":
        started = time.perf_counter()
        take_in(folder)  # nothing new: hashing, and the table once more
        cost["again_seconds"] = time.perf_counter() - started
    print(json.dumps(cost))


def main(words: list[str]) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--forms", nargs="+", default=["parquet"], choices=["parquet", "csv", "csv.gz", "jsonl"])
    parser.add_argument("--event-ids", action="store_true", help="give every row an event_id")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(words)
    if chosen.measure:
        _measure(chosen.measure[0], Path(chosen.measure[1]))
    else:
        print(json.dumps(run(chosen.rows, tuple(chosen.forms), chosen.event_ids), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
