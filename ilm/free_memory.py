"""How much memory is free on this machine, or in this container; for messages in time."""

from pathlib import Path

MEMORY, CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
"""What Linux says of the machine's memory, and of that of the container."""


def free_memory() -> int | None:
    """Bytes that are free, or would be given up by what was read before; None: unknown."""
    try:
        free = _entry(MEMORY, "MemAvailable:") * 1024
    except (OSError, StopIteration):
        return None
    try:
        limit, used = (int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        files = _entry(CONTAINER / "memory.stat", "inactive_file")  # read once, given up when memory is wanted
    except (OSError, ValueError, StopIteration):  # no limit
        return free
    return min(free, limit - used + files)


def _entry(file: Path, name: str) -> int:
    lines = map(str.split, file.read_text(encoding="ascii").splitlines())
    return next(int(line[1]) for line in lines if line[0] == name)
