"""Several processes, or Ray's actors, write the bytes of one process; what is killed is done again."""

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilm.errors import ConfigError, IlmError
from ilm.serve import batch_engines
from ilm.serve.batch import AllUsers
from ilm.serve.batch_engines import Job, RayWorker, fill_with_processes, fill_with_ray

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: the extra `ray`")
FLAG = "ILM_TEST_KILLED"
"""Environment: a file that is there once a worker has killed itself."""


@pytest.fixture
def job(model_folder: Path, tmp_path: Path) -> Job:
    return Job(str(model_folder), "m", str(tmp_path / "recs.parquet"), k=3, shard_users=1)


@pytest.fixture
def expected(model_folder: Path, tmp_path: Path) -> bytes:
    """What one process writes."""
    work = Job(str(model_folder), "m", str(tmp_path / "expected"), k=3, shard_users=1).open()
    for shard in work.begin():
        list(work.fill(shard))
    work.finish()
    return (tmp_path / "expected").read_bytes()


@pytest.fixture
def flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FLAG, str(tmp_path / "killed"))
    return tmp_path / "killed"


def die_once() -> None:
    flag = Path(os.environ[FLAG])
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)


_fill = batch_engines._fill


def fill_or_die(shard: int) -> int:
    """In the place of `_fill`, in the worker processes."""
    if shard == 1:
        die_once()
    return _fill(shard)


class MortalWorker(RayWorker):
    """An actor that is killed at its second shard."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if 1 in batch["shard"]:
            die_once()
        return super().__call__(batch)


@pytest.mark.slow
def test_several_processes_write_the_bytes_of_one(job: Job, expected: bytes) -> None:
    work = job.open()
    assert sorted(fill_with_processes(job, work.begin(), 2)) == [1, 1, 1]
    work.finish()
    assert Path(job.out).read_bytes() == expected


@pytest.mark.slow
def test_of_a_process_that_is_killed_the_other_shards_stay(
    job: Job, expected: bytes, flag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_engines, "_fill", fill_or_die)
    work = job.open()
    with pytest.raises(IlmError, match="one of the processes was killed .* it goes on where it was"):
        list(fill_with_processes(job, work.begin(), 1))
    assert work.begin() == [1, 2]
    list(fill_with_processes(job, work.begin(), 1))
    work.finish()
    assert Path(job.out).read_bytes() == expected


@needs_ray
@pytest.mark.slow
def test_ray_writes_the_bytes_of_one_process_also_when_an_actor_is_killed(
    job: Job, expected: bytes, flag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_engines, "RayWorker", MortalWorker)
    work = job.open()
    assert sorted(fill_with_ray(job, work.begin(), 2)) == [1, 1, 1]
    assert flag.exists()
    work.finish()
    assert Path(job.out).read_bytes() == expected


@needs_ray
@pytest.mark.slow
def test_mistake_in_an_actor_is_one_message(job: Job, model_folder: Path, tmp_path: Path) -> None:
    shards = job.open().begin()
    lost = Job(str(tmp_path / "gone"), job.identity, job.out, job.k, job.shard_users)
    with pytest.raises(IlmError, match=r"Ray gave up: .*gone") as said:
        list(fill_with_ray(lost, shards, 1))
    assert "\n" not in str(said.value)


def test_without_ray_it_is_said_what_to_install(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'item-language-model\[ray\]'"):
        next(fill_with_ray(job, [0], 1))


def test_a_file_is_not_made_of_too_few_shards(job: Job) -> None:
    work: AllUsers = job.open()
    list(work.fill(work.begin()[0]))
    with pytest.raises(IlmError, match=r"00001.parquet, 00002.parquet not made"):
        work.finish()
    assert not Path(job.out).exists()


class Telling(RayWorker):
    """An actor that leaves a file that says who did a shard: its machine, and which GPU it was given."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import ray

        done = super().__call__(batch)
        context = ray.get_runtime_context()
        own = [context.get_node_id(), *context.get_accelerator_ids().get("GPU", [])]
        Path(f"{os.environ[FLAG]}-{int(batch['shard'][0])}").write_text(" ".join(own), encoding="utf-8")
        time.sleep(3)  # so that nobody does the work of all
        return done


@pytest.fixture
def cluster(flag: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines, as far as Ray can tell, each with a processor and what it takes for a GPU."""
    for name, value in batch_engines.QUIET.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1, num_gpus=1)
    made.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.shutdown()


@needs_ray
@pytest.mark.slow
def test_the_machines_of_a_ray_cluster_share_the_work_an_actor_for_each_gpu(
    job: Job, expected: bytes, cluster: Any, flag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_engines, "RayWorker", Telling)
    work = job.open()

    assert sorted(fill_with_ray(job, work.begin())) == [1, 1, 1]

    work.finish()
    assert Path(job.out).read_bytes() == expected
    workers = {told.read_text(encoding="utf-8") for told in flag.parent.glob("killed-*")}
    assert len({worker.split()[0] for worker in workers}) == 2
    assert all(worker.split()[1:] == ["0"] for worker in workers)


@needs_ray
@pytest.mark.slow
def test_a_machine_that_a_ray_cluster_loses_loses_nothing(
    job: Job, expected: bytes, cluster: Any, flag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_engines, "RayWorker", Telling)
    work, lost = job.open(), cluster.worker_nodes.copy().pop()

    def lose_it() -> None:
        while not any(lost.node_id in told.read_text(encoding="utf-8") for told in flag.parent.glob("killed-*")):
            time.sleep(0.1)
        cluster.remove_node(lost, allow_graceful=False)

    losing = threading.Thread(target=lose_it)
    losing.start()
    list(fill_with_ray(job, work.begin()))
    losing.join()

    work.finish()
    assert Path(job.out).read_bytes() == expected
