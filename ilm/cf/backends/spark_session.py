"""A Spark session for one fit: its Java process, its folder and its log begin and end with it.

Nothing is asked of a network beside the cluster: no web page, and of this machine alone the loopback address.
Spark's own words go to a log file, which is kept, and named, if the fit fails.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilm.errors import ConfigError, IlmError
from ilm.params import CfParams

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA = 17
"""Oldest version that Spark 4 runs on."""
SECONDS_FOR_WORKERS = 60
"""After which a cluster that gives no executor is an error."""
_INSTEAD = "Or set cf.backend to implicit-cpu in params.yaml."


@contextmanager
def session(params: CfParams) -> Iterator[tuple["SparkSession", Path]]:
    """A session, and an empty folder that it and its workers share.

    Raises:
        ConfigError: PySpark or Java is missing, or no cluster answers at `spark_master`.
        IlmError: Spark failed, within the block, too.
    """
    require_spark()
    if params.spark_master.startswith("spark://"):
        _require_master(params.spark_master)
    above = Path(params.spark_folder).absolute()
    above.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="fit-", dir=above))
    folder.chmod(0o777)  # workers of a cluster may run as another user
    log = above / f"{folder.name}.log"
    try:
        with (
            log.open("wb") as log_file,
            _one_message(params, log),  # Java does not start
            _java(params, folder, log_file) as gateway,
            _one_message(params, log),  # what comes later is told by Java, which must still run to be asked
            _context(gateway) as spark,
        ):
            spark.sparkContext.setCheckpointDir((folder / "checkpoints").as_uri())
            _wait_for_workers(spark, params)
            yield spark, folder
        log.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_spark() -> None:
    """Refuse to begin without PySpark or Java.

    Raises:
        ConfigError: says what to install.
    """
    try:
        import pyspark  # noqa: F401
    except ImportError:
        raise ConfigError(
            "cf.backend spark needs the package pyspark. Run `pip install 'item-language-model[spark]'`. " + _INSTEAD
        ) from None
    needs = f"cf.backend spark needs Java {JAVA} or later"
    advice = f"Install one (Debian, Ubuntu: `apt install openjdk-{JAVA}-jre-headless`) and let JAVA_HOME name it. "
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin/java")) if home else shutil.which("java")
    if java is None:
        raise ConfigError(f"{needs}; JAVA_HOME is not set and no `java` is on the PATH. {advice}{_INSTEAD}")
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=60).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{needs}; {java} does not run ({error}). {advice}{_INSTEAD}") from None
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    if found is None or int(found[1]) < JAVA:
        raise ConfigError(f"{needs}; {java} is {found[1] if found else 'of unknown version'}. {advice}{_INSTEAD}")


def _require_master(master: str) -> None:
    """Spark itself would ask for a minute, and then say it in a stack trace."""
    host, port = master.removeprefix("spark://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigError(
            f"cf.spark_master {master}: nothing answers there ({error}). Start Spark's master and workers, or set "
            "cf.spark_master to local[2] in params.yaml."
        ) from None


def _settings(params: CfParams, folder: Path) -> dict[str, str]:
    settings = {
        "spark.app.name": "ilm cf",
        "spark.master": params.spark_master,
        "spark.driver.memory": params.spark_memory,
        "spark.executor.memory": params.spark_memory,
        "spark.driver.maxResultSize": "0",  # the item vectors come back whole, however many there are
        "spark.local.dir": str(folder / "spill"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "8",
    }
    host = params.spark_master.removeprefix("spark://").rsplit(":", 1)[0]
    if params.spark_master.startswith("local") or host in ("localhost", "127.0.0.1"):
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return settings


@contextmanager
def _java(params: CfParams, folder: Path, log: Any) -> Iterator[Any]:
    """The Java process, ended for certain; if this process dies, it ends by itself (its stdin closes)."""
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    conf = SparkConf(loadDefaults=False).setAll(list(_settings(params, folder).items()))
    gateway: Any = launch_gateway(conf, {"stdout": log, "stderr": log})
    try:
        yield gateway
    finally:
        # The next fit has a Java of its own; and MLflow asks any session that it finds, also one whose Java is gone.
        SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
        SparkSession._instantiatedSession = SparkSession._activeSession = None
        with suppress(Exception):
            gateway.shutdown()
        gateway.proc.stdin.close()
        try:
            gateway.proc.wait(timeout=30)
        except subprocess.TimeoutExpired:
            gateway.proc.kill()
            gateway.proc.wait()


@contextmanager
def _context(gateway: Any) -> Iterator["SparkSession"]:
    """The session; PySpark's own handler of Ctrl-C, which would stay for the rest of the program, ends with it."""
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    handler = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")  # of pandas 3, unused here
            context = SparkContext(gateway=gateway, conf=SparkConf(_jvm=gateway.jvm))
            spark = SparkSession(context)
            try:
                yield spark
            finally:
                spark.stop()
    finally:
        with suppress(ValueError):  # not in the main thread, where nothing was changed
            signal.signal(signal.SIGINT, handler)


def _wait_for_workers(spark: "SparkSession", params: CfParams) -> None:
    """Without one, Spark would wait for ever."""
    if params.spark_master.startswith("local"):
        return
    scala_context: Any = spark.sparkContext._jsc.sc()
    until = time.monotonic() + SECONDS_FOR_WORKERS
    while scala_context.getExecutorMemoryStatus().size() < 2:  # the driver counts
        if time.monotonic() > until:
            raise ConfigError(
                f"cf.spark_master {params.spark_master}: no worker gave an executor with {params.spark_memory} within "
                f"{SECONDS_FOR_WORKERS} s. Start workers with that much memory free, or lower cf.spark_memory."
            )
        time.sleep(0.5)


@contextmanager
def _one_message(params: CfParams, log: Path) -> Iterator[None]:
    """Errors of Spark and of the way to it as one line; the stack trace is in the log."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException, OSError, EOFError) as error:
        raise IlmError(
            f"cf: Spark failed at {params.spark_master}: {_first_line(error)}. Its log is {log}. "
            "If it ran out of memory, raise cf.spark_memory."
        ) from None


def _first_line(error: Exception) -> str:
    """The innermost cause in Java's own words, or what Python says; nothing more than its kind, if Java is gone."""
    said = ""
    with suppress(Exception):
        said = str(error)
        cause = getattr(error, "java_exception", None)
        while cause is not None:
            said, cause = cause.toString(), cause.getCause()
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
