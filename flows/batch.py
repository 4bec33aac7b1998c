"""`ilm recommend --all-users`: the work is done in `ilm.serve.batch`; here is what is seen of it."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ilm.serve.batch import AllUsers
    from ilm.serve.batch_engines import Job

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
        processes: how many; None: one for each GPU, or where there is none for each processor.

    Raises:
        IlmError: the model does not load, the file holds something else, or a process was killed.
    """
    from tqdm import tqdm

    from flows.registry import named_bundle
    from ilm.files import digest
    from ilm.serve.batch import recommend_all
    from ilm.serve.batch_engines import Job
    from ilm.serve.bundle import CONFIG

    folder = named_bundle(project, name)
    job = Job(str(folder.resolve()), digest(folder / CONFIG), str(out.resolve()), k)
    work = job.open()
    users, began, answered = len(work.users), time.perf_counter(), 0
    with tqdm(total=users, unit=" users", disable=None) as bar:
        for done, asked in recommend_all(work, partial(_fill, job, work, engine, processes)):
            answered += done if asked else 0
            bar.update(done)
    kept = f", {users - answered:,} of them kept" if answered < users else ""
    print(f"recommend  {users:,} users{kept}, {answered / (time.perf_counter() - began):,.1f} per second  {out}")


def _fill(job: "Job", work: "AllUsers", engine: Engine, processes: int | None, missing: list[int]) -> Iterator[int]:
    """Users of each pass, by the engine that was asked for; where one processor does it all, it is this process's."""
    from ilm.serve.batch_engines import CPU, devices_of_processes, fill_with_processes, fill_with_ray

    if engine == "ray":
        return fill_with_ray(job, missing, processes)
    own = devices_of_processes()
    alone = own[0] == CPU and min(processes or len(own), len(missing)) == 1
    return work.fill_all(missing) if alone else fill_with_processes(job, missing, processes)
