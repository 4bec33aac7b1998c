"""One question to Great Expectations about a table, and its answer in plain words."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Check:
    """A question about one table."""

    table: str
    expected: str
    """In plain words."""
    expectation: Any
    """Of Great Expectations."""
    name: str | None = None
    """By which `validate.warnings` knows it; without a name, its failure always stops the run."""
    shown: str | None = None
    """Column whose only value is shown as what was found."""


@dataclass(frozen=True)
class Outcome:
    """One expectation in plain words, and what was found. Equal data give equal outcomes, whatever the time."""

    table: str
    expected: str
    observed: str
    passed: bool
    severity: Literal["error", "warning"] = "error"
    """A failed warning is shown, and stops nothing."""

    @property
    def stops(self) -> bool:
        """Whether the run must not go on."""
        return not self.passed and self.severity == "error"
