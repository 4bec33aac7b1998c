"""`ilm recommend --all-users`: the work is done in `ilm.serve.batch`; here is what is seen of it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Engine = Literal["local", "ray"]


def recommend_all_users(
    project: Path, name: str, out: Path, k: int, engine: Engine = "local", processes: int | None = None
) -> None:
    """Write recommendations for all users of a model into a file, with a bar.

    Args:
        project: root folder.
        name: of the model: an alias, a version or a folder.
        out: as in `ilm.serve.batch.AllUsers`.
        k: items per user.
        engine: who does it: processes of this machine, or actors of Ray.
        processes: how many; None: one for each processor.

    Raises:
        IlmError: the model does not load, the file holds something else, or a process was killed.
    """
    from tqdm import tqdm

    from flows.registry import named_bundle

    folder = named_bundle(project, name)
    users, began, answered = 0, time.perf_counter(), 0
    with tqdm(unit=" users", disable=None) as bar:
        for bar.total, done, asked in _done(folder, out, k, engine, processes):
            users = bar.total
            answered += done if asked else 0
            bar.update(done)
    kept = f", {users - answered:,} of them kept" if answered < users else ""
    print(f"recommend  {users:,} users{kept}, {answered / (time.perf_counter() - began):,.1f} per second  {out}")


def _done(folder: Path, out: Path, k: int, engine: Engine, processes: int | None) -> Iterator[tuple[int, int, bool]]:
    """Number of all users, users of a piece of work, whether the model was asked."""
    from ilm.files import digest
    from ilm.serve.batch_engines import Job, fill_with_processes, fill_with_ray
    from ilm.serve.bundle import CONFIG

    identity = digest(folder / CONFIG)
    job = Job(str(folder.resolve()), identity, str(out.resolve()), k)
    work = job.open()
    missing, users = work.begin(), len(work.users)
    yield users, users - sum(len(work.users_of(shard)) for shard in missing), False
    processes = min(processes or len(os.sched_getaffinity(0)), len(missing))
    if engine == "local" and processes <= 1:
        for shard in missing:
            yield from ((users, done, True) for done in work.fill(shard))
    elif missing:
        fill = fill_with_ray if engine == "ray" else fill_with_processes
        yield from ((users, done, True) for done in fill(job, missing, processes))
    work.finish()
