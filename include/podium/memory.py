"""How much memory a process may still take, as the kernel says."""

from __future__ import annotations

from pathlib import Path

from podium.errors import PodiumError

# A file is read, and what is made of it is as large again.
_ROOM_FOR_A_FILE = 2
_MACHINE = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_bytes(machine: Path = _MACHINE, group: Path = _GROUP) -> int | None:
    """Return what is free on the machine, or within the container's limit if that is less; None if unknown.

    Args:
        machine: The kernel's account of the machine.
        group: The folder of the container's control group (version 2).
    """
    found = [free for free in (_of_machine(machine), _of_group(group)) if free is not None]
    return min(found, default=None)


def assert_fits(name: str, size: int) -> None:
    """Refuse to load a model beside the one that is in use where both may not fit: that one would go too.

    Args:
        name: The version, to begin the message.
        size: The bytes of its files.

    Raises:
        PodiumError: Its files would take most of what is free.
    """
    free = free_bytes()
    if free is not None and size * _ROOM_FOR_A_FILE > free:
        raise PodiumError(
            f"{name} is too large for memory beside the version in use: its files have {size / 2**20:,.0f} "
            f"MiB, loading may take {_ROOM_FOR_A_FILE} times as much, and {free / 2**20:,.0f} MiB are free"
        )


def _of_machine(path: Path) -> int | None:
    fields = _fields(path)
    return None if "MemAvailable:" not in fields else fields["MemAvailable:"] * 1024


def _of_group(folder: Path) -> int | None:
    """What the kernel keeps of files it gives back when it is needed."""
    limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
    if limit is None or used is None:
        return None
    return max(limit - used + _fields(folder / "memory.stat").get("inactive_file", 0), 0)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        # There is no limit: "max", or no such group.
        return None


def _fields(path: Path) -> dict[str, int]:
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdecimal()}
