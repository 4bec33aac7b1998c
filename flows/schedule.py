"""The schedule of a project: what is wanted, in `.ilm/schedule.json`. `ilm schedule --run` makes Prefect follow it.

The file outlives server, scheduler and machine; the Prefect deployment is made from it, and made again if it is gone.
"""

import hashlib
import re
import time
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from flows.lease import STATE
from ilm.errors import ArtifactError, ConfigError
from ilm.files import write_text

FILE = STATE / "schedule.json"
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
LONGEST = 366 * 86_400
"""Seconds between two retrains, at most."""


class Schedule(BaseModel):
    """When to retrain. At most one of `cron` and `every_seconds`; none of the three if it was removed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Of the Prefect deployment; with a random part, as a Prefect server may have several projects."""
    cron: str | None = None
    timezone: str = "UTC"
    """In which `cron` is meant; IANA name."""
    every_seconds: PositiveInt | None = None
    on_arrival: bool = False
    """When files have come to data.logs."""
    since: float
    """Time of day from which `every_seconds` counts."""
    paused: bool = False
    changed: float
    """Time of day of the last command: a deployment that was changed otherwise is set right by the next one."""

    @property
    def is_wanted(self) -> bool:
        """Whether there is a schedule; else it was removed."""
        return bool(self.cron or self.every_seconds or self.on_arrival)

    def __str__(self) -> str:
        parts = [f'cron "{self.cron}" ({self.timezone})' if self.cron else ""]
        parts += [f"every {in_words(self.every_seconds)}" if self.every_seconds else ""]
        parts += ["on arrival of log files" if self.on_arrival else ""]
        return ", ".join(part for part in parts if part) or "none"


def load(home: Path) -> Schedule | None:
    """What is wanted; None if nothing ever was.

    Raises:
        ArtifactError: schedule.json is damaged.
    """
    try:
        return Schedule.model_validate_json((home / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise ArtifactError(f"{home / FILE}: damaged ({said}). Delete it, and set the schedule again.") from None


def want(
    home: Path,
    cron: str | None = None,
    timezone: str = "UTC",
    every_seconds: int | None = None,
    on_arrival: bool = False,
) -> Schedule:
    """Set the schedule; it takes the place of another one, and is not paused.

    Raises:
        ConfigError: the cron expression or the time zone is wrong.
    """
    if cron is not None:
        _require_cron(cron, timezone)
    before, now = load(home), time.time()
    name = before.name if before else f"{home.resolve().name}-{uuid4().hex[:6]}"
    return _save(
        home,
        Schedule(
            name=name, cron=cron, timezone=timezone, every_seconds=every_seconds, on_arrival=on_arrival,
            since=now, changed=now,
        ),
    )  # fmt: skip


def pause(home: Path, paused: bool) -> Schedule:
    """Pause the schedule, or go on.

    Raises:
        ConfigError: there is none.
    """
    return _save(home, wanted(home).model_copy(update={"paused": paused, "changed": time.time()}))


def remove(home: Path) -> Schedule:
    """Remove the schedule. Its name is kept, for the scheduler to remove the deployment.

    Raises:
        ConfigError: there is none.
    """
    now = time.time()
    return _save(home, Schedule(name=wanted(home).name, since=now, changed=now))


def wanted(home: Path) -> Schedule:
    """The schedule that there is.

    Raises:
        ConfigError: there is none.
    """
    found = load(home)
    if found is None or not found.is_wanted:
        raise ConfigError('there is no schedule. Set one: `ilm schedule --cron "0 3 * * *"`.')
    return found


def version(home: Path, schedule: Schedule) -> str:
    """Names what a deployment is made of: one that bears it needs no change."""
    return hashlib.sha256(f"{home.resolve()}\n{schedule.model_dump_json()}".encode()).hexdigest()[:12]


def seconds(text: str) -> int:
    """Read a time such as 90s, 30m, 1h30m or 2d.

    Raises:
        ConfigError: it is none, 0, or over a year.
    """
    parts = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip())
    counts = [int(part or 0) for part in parts.groups()] if parts else [0] * len(UNITS)
    total = sum(count * unit for count, unit in zip(counts, UNITS.values(), strict=True))
    if not 0 < total <= LONGEST:
        raise ConfigError(f"--every {text}: not a time. Write it as 30m, 1h, 1h30m or 2d.")
    return total


def in_words(total: int) -> str:
    """The inverse of `seconds`."""
    words = ""
    for unit, length in UNITS.items():
        count, total = divmod(total, length)
        words += f"{count}{unit}" if count else ""
    return words


def _require_cron(cron: str, timezone: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        where = error.errors()[0]["loc"][0]
        value = {"cron": cron, "timezone": timezone}.get(str(where), "")
        raise ConfigError(
            f"--{where} {value}: not known. Five fields are minute, hour, day, month, weekday: `0 3 * * *` is every "
            "night at 3:00; a time zone is one such as Europe/Berlin."
        ) from None


def _save(home: Path, schedule: Schedule) -> Schedule:
    (home / STATE).mkdir(exist_ok=True)
    write_text(home / FILE, schedule.model_dump_json(indent=2) + "\n")
    return schedule
