"""The moment that counts as now: a scheduled run may name it, so that its result does not depend on when it started."""

import os
from datetime import UTC, datetime

from ilm.errors import ConfigError

NOW = "ILM_NOW"
"""Environment variable with an ISO date-time; without a zone it is UTC."""


def current_time() -> datetime:
    """ILM_NOW, or else the clock; with zone.

    Raises:
        ConfigError: ILM_NOW is no date-time.
    """
    named = os.environ.get(NOW)
    if not named:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(named)
    except ValueError:
        raise ConfigError(f"{NOW} is {named!r}, not an ISO date-time. Write it as 2024-05-01T03:00:00+00:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
