"""The launcher of steps `pretrain` and `finetune`, with real processes under a real `torchrun`; most of them do not
train, but do what a test wants."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ilm.errors import ConfigError, IlmError
from ilm.params import Params, TrainParams
from tasks import launch, paths
from tests.fake_project import ROOT, wait_for_end

WORKER = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from ilm.errors import ConfigError
from ilm.train import __main__ as program

def behave(arguments, log):
    rank, restart = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    {behaviour}

program._run = behave
program.main()
"""


class Recorder:
    """A step that keeps every value that it is given."""

    def __init__(self, **train: object) -> None:
        settings = {"launcher": "torchrun", "processes": 2, "max_restarts": 1} | train
        self.params = Params().model_copy(update={"train": TrainParams.model_validate(settings)})
        self.logged: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, values: dict[str, float], at: int | None = None) -> None:
        self.logged.append((at, values))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def launched(monkeypatch: pytest.MonkeyPatch, behaviour: str, **train: object) -> Recorder:
    """A step after its launch, whose processes behaved so; `rank` and `restart` are known to them."""
    step = Recorder(**train)
    Path("worker.py").write_text(WORKER.format(root=str(ROOT), behaviour=behaviour))
    monkeypatch.setattr(launch, "WORKER", ("worker.py",))
    launch.launch(step, "finetune", paths.FINETUNED)
    return step


def test_values_of_the_main_process_reach_the_step_and_nothing_is_left(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = launched(monkeypatch, 'if rank == 0: [log({"loss": float(n)}, n) for n in range(700)]')
    assert step.logged == [(n, {"loss": float(n)}) for n in range(700)]
    assert list(paths.CHECKPOINTS.iterdir()) == []


@pytest.mark.parametrize(("gpus", "wanted", "started"), [(0, 0, 1), (0, 2, 2), (4, 0, 4), (4, 2, 2)])
def test_a_process_per_gpu_is_started_unless_another_number_is_wanted(
    monkeypatch: pytest.MonkeyPatch, gpus: int, wanted: int, started: int
) -> None:
    monkeypatch.setattr(launch, "_gpus", lambda: gpus)
    assert launch._processes(TrainParams(processes=wanted)) == started


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_gpus", lambda: 2)
    with pytest.raises(ConfigError, match=r"train\.processes is 4, but this machine has 2 GPUs"):
        launch._processes(TrainParams(processes=4))


def test_mistake_in_one_process_is_the_steps_message_and_ends_the_others(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IlmError, match=r"^x\.parquet: empty\. Add rows\.$"):
        launched(monkeypatch, 'if rank == 1: raise ConfigError("x.parquet: empty. Add rows.")\n    time.sleep(60)')
    printed = capfd.readouterr()
    assert printed.err == ""
    assert "restart" not in printed.out


def test_killed_process_is_started_again_and_no_value_is_told_twice(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    behaviour = """
    if rank == 1 and restart == 0:
        while not os.path.exists("logged"): time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 0:
        for n in ((0, 1), (1, 2))[restart]:
            log({"loss": n}, n)
        open("logged", "w").close()
        if restart == 0: time.sleep(60)"""
    step = launched(monkeypatch, behaviour.strip())
    assert step.logged == [(n, {"loss": n}) for n in (0, 1, 2)]
    printed = capfd.readouterr()
    assert "all go on from the last checkpoint (restart 1 of 1)" in printed.out
    assert printed.err == ""


def test_process_that_is_killed_too_often_ends_the_step_with_a_message(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IlmError, match=r"ended from outside, after 1 restarts.*train\.processes"):
        launched(monkeypatch, "if rank == 1: os.kill(os.getpid(), signal.SIGKILL)\n    time.sleep(60)")


def test_defect_keeps_its_traceback_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IlmError, match="the error above, after 0 restarts"):
        launched(monkeypatch, 'raise ValueError("a defect")', max_restarts=0)
    printed = capfd.readouterr().err
    assert printed.count("Traceback") == printed.count("ValueError: a defect") == 1


def test_rendezvous_that_cannot_be_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IlmError, match="the launcher could not start"):
        launched(monkeypatch, "pass", nodes=2, rendezvous="localhost:99999")
    printed = capfd.readouterr()
    assert "torchrun: " in printed.err
    assert "Traceback" not in printed.err
    assert "on each of the other machines, in this folder: OMP_NUM_THREADS=" in printed.out


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_ends_the_step_ends_all_processes(project: Path, number: signal.Signals) -> None:
    (project / "worker.py").write_text(
        WORKER.format(root=str(ROOT), behaviour='open(f"rank{rank}", "w").close(); time.sleep(300)')
    )
    code = (
        "from tests.tasks.test_launch import Recorder, launch, paths\n"
        "launch.WORKER = ('worker.py',)\n"
        "launch.launch(Recorder(), 'finetune', paths.FINETUNED)"
    )
    with (project / "stderr").open("w") as stderr:
        step = subprocess.Popen([sys.executable, "-c", code], stderr=stderr)
    try:
        deadline = time.monotonic() + 60
        while not all((project / f"rank{rank}").exists() for rank in (0, 1)):
            assert step.poll() is None, (project / "stderr").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        processes = psutil.Process(step.pid).children(recursive=True)
        assert len(processes) >= 3
        os.kill(step.pid, number)
        step.wait(timeout=60)
        for process in processes:
            wait_for_end(process)
    finally:
        step.kill()


def test_second_machine_joins_by_the_command_that_the_step_shows(project: Path) -> None:
    behaviour = 'open(f"rank{rank}of{os.environ[\'WORLD_SIZE\']}", "w").close(); rank or log({"loss": 1.0}, 0)'
    (project / "worker.py").write_text(WORKER.format(root=str(ROOT), behaviour=behaviour))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        rendezvous = f"localhost:{free.getsockname()[1]}"
    code = (
        "from tests.tasks.test_launch import Recorder, launch, paths\n"
        "launch.WORKER = ('worker.py',)\n"
        f"step = Recorder(nodes=2, processes=1, rendezvous='{rendezvous}')\n"
        "launch.launch(step, 'finetune', paths.FINETUNED)\n"
        "print(step.logged)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as step:
        try:
            assert step.stdout
            shown = next(line for line in step.stdout if "other machines" in line).partition("in this folder: ")[2]
            words = shlex.split(shown)
            variables = words[: words.index("torchrun")]
            arguments = [*variables, sys.executable, "-m", "torch.distributed.run", *words[len(variables) + 1 :]]
            subprocess.run(["env", *arguments], check=True, timeout=120)
            assert step.wait(timeout=60) == 0
            assert step.stdout.read().splitlines()[-1] == "[(0, {'loss': 1.0})]"
        finally:
            step.kill()
    assert {file.name for file in project.glob("rank*")} == {"rank0of2", "rank1of2"}
