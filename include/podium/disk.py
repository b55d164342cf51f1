"""A full disk is called a full disk, and the folder is named that has no room."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from podium.errors import DiskFull

# The last one: a limit of the process, as `ulimit -f` sets it.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BLOCK_BYTES = 4096


@contextmanager
def full_disk_named(doing: str, folder: Path | None = None, *, by_text: bool = False) -> Iterator[None]:
    """Translate what fails for lack of room, however deep below the error it is.

    Args:
        doing: What is being written, to begin the message.
        folder: Where; without it the folder of temporary files.
        by_text: Believe the text of an error too: MLflow's client adds up those of a download in words. In
            an error of a server such words would be about the server's disk.

    Raises:
        DiskFull: There was no room.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        why = _no_room(error) or (_no_room_by_text(error) if by_text else None)
        if why is None:
            raise
        raise DiskFull(doing, folder or Path(gettempdir()), why) from error


def _no_room(error: BaseException | None) -> str | None:
    """Return what the system says where a full disk or quota is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return os.strerror(error.errno)
        error = error.__cause__ or error.__context__
    return None


def _no_room_by_text(error: Exception) -> str | None:
    return next((os.strerror(number) for number in _FULL if f"[Errno {number}]" in str(error)), None)


def assert_room(doing: str, folder: Path, sizes: list[int]) -> None:
    """Make sure that files have room before anybody begins to write them.

    Args:
        doing: What is to be written, to begin the message.
        folder: Where.
        sizes: Of the files, in bytes.

    Raises:
        DiskFull: They do not fit.
    """
    needed = sum(-(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in sizes)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(doing, folder, f"{needed:,} bytes are needed, {free:,} are free")
