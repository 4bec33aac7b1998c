"""Every environment switch of the tools underneath, in one place: telemetry off, no network, one BLAS thread.

Shared by tasks and flows. Standard library only: it runs before anything else is imported.
"""

import importlib.util
import os
import sys
from pathlib import Path

SWITCHES = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten processes and 2.5 GB otherwise
    "OPENBLAS_NUM_THREADS": "1",  # implicit is twice as slow with more, and results could depend on the count
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Always set, whatever the user's environment says."""

DEFAULTS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # 7, the tool's default, waits minutes for a server that is not there
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # the command line says what went wrong, once
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # 20 is too short for a first start on a busy machine
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",  # the temporary server prints 150 lines of tracebacks at exit otherwise
}
"""Set where the user's environment says nothing."""


def switch() -> None:
    """Set all switches. Called when `tasks` is imported, because numpy, mlflow, dvc and prefect read them at import."""
    if importlib.util.find_spec("mlflow") is None:
        sys.exit(
            f"error: {sys.executable} lacks the project's packages. Run `make setup`, then `source .venv/bin/activate` "
            "(DVC starts steps with the `python` that it finds in PATH)."
        )
    os.environ.update(SWITCHES)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def use_project(project: Path) -> None:
    """Keep the state of MLflow and Prefect in the project's folder, unless the user's environment says otherwise."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{project.resolve() / 'mlflow.db'}")
    os.environ.setdefault("PREFECT_HOME", str(project.resolve() / ".prefect"))
