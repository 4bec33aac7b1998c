"""Great Expectations, imported without PySpark.

It looks for PySpark at its import, only to know its types. Where that is installed it costs seconds, and PySpark ends
the whole process if it takes it for a documentation test of its own (`check_dependencies` in its Connect client).
"""

import sys
from importlib import import_module
from typing import Any


def load(name: str = "great_expectations") -> Any:
    """The module of that name; Any, since it does not mark its names as exported."""
    if "great_expectations" in sys.modules:
        return import_module(name)
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "pyspark"}
    sys.modules["pyspark"] = None  # type: ignore[assignment]  # how Python marks what is not to be imported
    try:
        return import_module(name)
    finally:
        del sys.modules["pyspark"]
        sys.modules |= hidden
