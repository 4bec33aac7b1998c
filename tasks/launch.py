"""Steps `pretrain` and `finetune` in several processes: `torchrun` as a child of the step, on one machine or more.

The processes run `python -m ilm.train`, the same training on the same files; what they log and what they stumble over
reaches the step through files (`ilm.train.messages`). Whatever ends the step ends them.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ilm.errors import ConfigError, IlmError
from ilm.params import TrainParams
from tasks import paths
from tasks.export import write_settings
from tasks.process import end_with
from tasks.step import Step

if TYPE_CHECKING:
    from ilm.train.messages import Inbox

WORKER: tuple[str, ...] = ("-m", "ilm.train")
NOT_STARTED = 3
"""Exit code of `ilm.train.agent`."""
POLL_SECONDS = 0.5
GRACE_SECONDS = 20
"""Time that the processes have to end after they were asked to."""


def in_processes(step: Step) -> bool:
    """Whether the settings want a launcher."""
    return step.params.train.launcher == "torchrun"


def launch(step: Step, stage: Literal["pretrain", "finetune"], out: Path, earlier: Path | None = None) -> None:
    """Train in the processes that section `train` asks for, from the latest checkpoint on if there is one.

    Args:
        step: gives settings, and takes the main process's values as they come.
        stage: what to train.
        out: folder that the main process writes, whole or not at all.
        earlier: finetune: folder of a model to go on from.

    Raises:
        ConfigError: more processes are wanted than there are GPUs.
        IlmError: what a process says is wrong; or processes ended badly once more than `train.max_restarts` allows.
    """
    settings = step.params.train
    processes = _processes(settings)
    with _message_folder(stage) as messages:
        write_settings(step.params, messages)
        arguments = _torchrun(settings, stage, processes) + _training(stage, out, messages, earlier)
        print(f"{stage}  {settings.nodes} x {processes} processes", flush=True)
        if settings.nodes > 1:
            variables = " ".join(f"{name}={value}" for name, value in _environment(processes).items())
            command = f"{variables} torchrun {shlex.join(arguments)}"
            print(f"{stage}  on each of the other machines, in this folder: {command}", flush=True)
        _run(step, stage, arguments, processes, messages)


def _run(step: Step, stage: str, arguments: list[str], processes: int, messages: Path) -> None:
    from ilm.train.messages import Inbox

    inbox, restarts = Inbox(messages), 0
    child = subprocess.Popen(
        [sys.executable, "-m", "ilm.train.agent", *arguments],
        env=os.environ | _environment(processes),
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends them in order
        preexec_fn=partial(end_with, os.getpid()),
    )
    try:
        code = None
        while code is None:
            code = _wait(child, POLL_SECONDS)
            for at, values in inbox.values():
                step.log_metrics(values, at)
            if inbox.restarts > restarts and not inbox.mistake():
                restarts = inbox.restarts
                of = f"restart {restarts} of {step.params.train.max_restarts}"
                print(f"{stage}  a process ended badly: all go on from the last checkpoint ({of})", flush=True)
    finally:
        _stop(child)
    if code == NOT_STARTED:
        raise IlmError(f"step {stage}: the launcher could not start; it says why above. Look at section train.")
    if code != 0:
        raise IlmError(_reason(stage, inbox, restarts))


def _reason(stage: str, inbox: "Inbox", restarts: int) -> str:
    mistake = inbox.mistake()
    if mistake:
        return mistake
    crash = inbox.crash()
    if crash:
        print(crash, file=sys.stderr)
        return f"step {stage}: a process ended with the error above, after {restarts} restarts. Run the step again."
    return (
        f"step {stage}: its processes were ended from outside, after {restarts} restarts. If memory ran out, lower "
        "train.processes, or raise gradient_accumulation; then run the step again, it goes on where it was."
    )


def _torchrun(settings: TrainParams, stage: str, processes: int) -> list[str]:
    """Options of `torchrun`; on several machines, the same on all."""
    where = ["--standalone", "--local-addr=127.0.0.1"]
    if settings.nodes > 1:
        where = [
            f"--nnodes={settings.nodes}",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={settings.rendezvous}",
            f"--rdzv-id=ilm-{stage}",
        ]
    return [*where, f"--nproc-per-node={processes}", f"--max-restarts={settings.max_restarts}"]


def _training(stage: str, out: Path, messages: Path, earlier: Path | None) -> list[str]:
    """What each process runs."""
    options = {"features": paths.FEATURES, "settings": messages, "out": out, "checkpoints": paths.CHECKPOINTS}
    options |= {"messages": messages} | ({"earlier": earlier} if earlier else {})
    if stage == "finetune":
        options |= {"encoder": paths.PRETRAINED}
    return [*WORKER, stage, *(f"--{name}={path}" for name, path in options.items())]


@contextmanager
def _message_folder(stage: str) -> Iterator[Path]:
    """A new folder beside the checkpoints, which all machines see."""
    paths.CHECKPOINTS.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"messages-{stage}-", dir=paths.CHECKPOINTS))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _processes(settings: TrainParams) -> int:
    """Processes of this machine."""
    gpus = _gpus()
    if 0 < gpus < settings.processes:
        raise ConfigError(
            f"train.processes is {settings.processes}, but this machine has {gpus} GPUs. Lower it, or use 0."
        )
    return settings.processes or gpus or 1


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _environment(processes: int) -> dict[str, str]:
    """Variables of all processes: the machine's cores are shared, unless the user's environment says how many threads
    a process has; and a restart begins with an empty store, or processes look for those that are gone
    (pytorch/pytorch#135712)."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // processes))
    return {"OMP_NUM_THREADS": threads, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def _wait(child: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    try:
        return child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Ask the launcher to end its processes; if it does not, kill it, and the kernel ends them."""
    if child.poll() is None:
        child.terminate()
        if _wait(child, GRACE_SECONDS) is None:
            child.kill()
            child.wait()
