"""Who fills the shards of recommendations for all users: this process, several of this machine, or Ray's actors.

Each has a device of its own: a GPU, or where there is none a processor. All write the same bytes: a shard depends on
its users alone, and on the CPU each computes with one thread, since sums over several threads round otherwise (and so
do GPUs of different kinds).
"""

import importlib
import importlib.util
import logging
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ilm.errors import ConfigError, IlmError
from ilm.model.devices import devices
from ilm.serve.batch import SHARD_USERS, AllUsers
from ilm.serve.item_language_model import ItemLanguageModel

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Job:
    """What every worker must know; arguments as of `AllUsers`."""

    folder: str
    """Of the model; for Ray, one that all its nodes see."""
    identity: str
    out: str
    k: int
    shard_users: int = SHARD_USERS

    def open(self, device: torch.device = CPU) -> AllUsers:
        """Load the model onto a device. From then on this process computes with one thread."""
        torch.set_num_threads(1)
        model = ItemLanguageModel.from_pretrained(self.folder, device=device)
        return AllUsers(model, self.identity, Path(self.out), self.k, self.shard_users)


QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""What Ray shall not do: send statistics, and tell of its own affairs."""

_job: AllUsers | None = None
"""Of a worker process."""


def fill_with_processes(job: Job, shards: list[int], processes: int | None = None) -> Iterator[int]:
    """Fill shards in several processes of this machine; gives the number of users after each shard.

    Args:
        job: what to do.
        shards: which of them.
        processes: how many; None: one per device. They take the devices in turn.

    Raises:
        IlmError: one of them was killed; what is filled stays.
    """
    spawned = multiprocessing.get_context("spawn")
    count = min(processes or len(devices_of_processes()), len(shards))
    with ProcessPoolExecutor(count, spawned, _open, (job, spawned.Value("i", 0))) as pool:
        try:
            for filled in as_completed([pool.submit(_fill, shard) for shard in shards]):
                yield filled.result()
        except BrokenProcessPool:
            raise IlmError(
                "one of the processes was killed (too little memory?). Run the command again, with fewer "
                "`--processes` maybe; it goes on where it was."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def devices_of_processes() -> list[torch.device]:
    """One for each process: the GPUs, or the CPU as often as this process may use processors."""
    found = devices()
    return found if found != [CPU] else [CPU] * len(os.sched_getaffinity(0))


def _open(job: Job, opened: "Synchronized[int]") -> None:
    global _job
    with opened.get_lock():
        number, opened.value = opened.value, opened.value + 1
    own = devices_of_processes()
    _job = job.open(own[number % len(own)])


def _fill(shard: int) -> int:
    assert _job is not None
    return sum(_job.fill(shard))


class RayWorker:
    """An actor of Ray Data, which loads the model once. A shard may be given to several: it is written whole or not."""

    def __init__(self, job: Job) -> None:
        self._job = job.open(devices()[0])  # of several GPUs, Ray shows it its own

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """{"shard": [indexes]} -> {"users": [how many]}."""
        return {"users": [sum(self._job.fill(int(shard))) for shard in batch["shard"]]}


def fill_with_ray(job: Job, shards: list[int], processes: int | None = None) -> Iterator[int]:
    """Fill shards in actors of Ray Data: of the cluster that RAY_ADDRESS names, else of this machine.

    An actor that is killed is started again, and its shard done again; so it is when its machine is lost.

    Args:
        job: what to do.
        shards: which of them.
        processes: actors; None: one per GPU, or where there is none per processor, of the whole cluster.

    Raises:
        ConfigError: Ray is not installed.
        IlmError: the job failed; what is filled stays.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--engine ray needs Ray. Run `pip install 'item-language-model[ray]'`, or leave it out.")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    ray: Any = importlib.import_module("ray")  # types would be needed where it is not installed
    data: Any = importlib.import_module("ray.data")

    # A cluster's devices are its own; of this machine, as many processors as there are actors.
    count = processes or len(devices_of_processes())
    here = {"num_cpus": count, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    local = {} if "RAY_ADDRESS" in os.environ else here
    ray.init(log_to_driver=False, logging_level="ERROR", **local)
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is told by us
    try:
        there = ray.cluster_resources()
        kind = "num_gpus" if there.get("GPU") else "num_cpus"
        actors = processes or int(there["GPU" if there.get("GPU") else "CPU"])
        work = data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        work = work.map_batches(
            RayWorker,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=min(actors, len(shards))),
            **{kind: 1},
        )
        for row in work.iter_rows():
            yield int(row["users"])
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise IlmError(f"Ray gave up: {reason}. Run the command again; it goes on where it was.") from None
    finally:
        ray.shutdown()
