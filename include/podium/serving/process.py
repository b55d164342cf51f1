"""One process of a model server: its folder, which is removed at its end, and that it ends with its parent.

A process that was killed leaves its folder behind. The next one that starts removes it: a folder is alive
while its process holds the lock in it, which ends with the process however that ends.
"""

from __future__ import annotations

import fcntl
import functools
import gc
import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path
from tempfile import gettempdir, mkdtemp

log = logging.getLogger(__name__)

_PREFIX, _UNLOCKED = "podium-serve-", "podium-new-serve-"
_LOCK = "lock"


@contextmanager
def own_folder() -> Iterator[Path]:
    """Hold a new folder below the temporary files, after removing those of dead processes."""
    _remove_dead(Path(gettempdir()))
    made = Path(mkdtemp(prefix=_UNLOCKED))
    with (made / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # It has its name, by which others look for it, only when it is locked.
        folder = made.rename(made.with_name(made.name.replace(_UNLOCKED, _PREFIX, 1)))
        try:
            yield folder
        finally:
            # A thread may still be loading a version into it: what that leaves, the next start removes.
            shutil.rmtree(folder, ignore_errors=True)


def _remove_dead(where: Path) -> None:
    for folder in where.glob(f"{_PREFIX}*"):
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            continue
        try:
            with (folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                log.info("Removing %s, left by a model server that has ended.", folder)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # alive, or gone meanwhile


@functools.cache
def spare_collections() -> None:
    """Keep what is loaded by now out of Python's garbage collections; works once in a process.

    A collection looks at each object, half a million of libraries and of the model, while all requests wait.
    https://docs.python.org/3.11/library/gc.html#gc.freeze
    """
    gc.collect()
    gc.freeze()


@contextmanager
def survived(what: str) -> Iterator[None]:
    """Log whatever is raised, and go on: a thread that ended would be missed until the next start.

    Args:
        what: What the thread does, as the log names it.
    """
    try:
        yield
    except Exception:
        log.exception("%s failed, and continues. Requests are still answered.", what)


def end_with_parent() -> None:
    """End this process, as SIGTERM does, when the one that started it is gone: nobody else would end it."""
    if (parent := parent_process()) is not None:

        def end() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=end, name="end-with-parent", daemon=True).start()
