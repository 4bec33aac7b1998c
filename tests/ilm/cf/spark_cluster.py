"""A standalone Spark cluster on loopback, for tests: a master and workers, each a Java process of its own."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cluster:
    master: str
    """spark://127.0.0.1:port"""
    workers: list[subprocess.Popen[bytes]]
    folders: list[Path]
    """A worker's: it makes a folder below for each executor that it starts."""


@contextmanager
def cluster(folder: Path, workers: int, memory: str) -> Iterator[Cluster]:
    """Running once all workers have registered; ended for certain. Logs lie in the folder."""
    import pyspark

    home = Path(pyspark.__file__).parent
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "spill"),
        "SPARK_DAEMON_MEMORY": "256m",
    }
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, what: str, *options: str) -> None:
        command = [str(home / "bin/spark-class"), f"org.apache.spark.deploy.{what}", "--host", "127.0.0.1", *options]
        with (folder / f"{name}.log").open("wb") as log:
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    try:
        start("master", "master.Master", "--port", "0", "--webui-port", "0")
        master = awaited(folder / "master.log", r"Starting Spark master at (spark://127\.0\.0\.1:\d+)")
        folders = [folder / f"worker-{number}" for number in range(workers)]
        for own in folders:
            resources = ("--cores", "1", "--memory", memory, "--work-dir", str(own), "--webui-port", "0")
            start(own.name, "worker.Worker", *resources, master)
        for own in folders:
            awaited(folder / f"{own.name}.log", "Successfully registered with master (.*)")
        yield Cluster(master, running[1:], folders)
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def awaited(log: Path, pattern: str, seconds: float = 120) -> str:
    """The pattern's first group, once the log has it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.1)
    raise TimeoutError(f"{log}: {pattern} did not come within {seconds} s:\n{log.read_text(errors='replace')}")
