"""How much a server takes on, and for whom."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much at once, and who may ask."""

    max_prompts: int = 32
    """Prompts per pass of the model."""
    max_waiting: int = 64
    """Questions that may wait for a pass."""
    seconds: float = 30.0
    """For an answer, waiting included."""
    max_bytes: int = 256 * 1024
    """Of a request's body."""
    hosts: Sequence[str] = ()
    """Host names that requests may be addressed to; none: any."""
