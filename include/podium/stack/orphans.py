"""Find and end what an earlier run left behind, and nothing else.

A process is ours if it sits in a folder of this state directory where only our programs run, and runs one of
our executables. Environment and title do not count: Airflow's processes overwrite both. A shell that somebody
left in that folder is not ours.
"""

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_DELETED = " (deleted)"
_GRACE_SECONDS = 8.0


@dataclass(frozen=True)
class Footprint:
    """How our processes are recognised: folder AND executable, both with links resolved."""

    folders: frozenset[str]
    executables: frozenset[str]

    @classmethod
    def of(cls, folders: Iterable[Path], executables: Iterable[Path]) -> "Footprint":
        """Build a footprint from paths that may be links."""
        return cls(
            frozenset(os.path.realpath(folder) for folder in folders),
            frozenset(os.path.realpath(executable) for executable in executables),
        )

    def matches(self, cwd: str, exe: str) -> bool:
        """Tell whether a process with this folder and executable is ours."""
        return cwd.removesuffix(_DELETED) in self.folders and exe.removesuffix(_DELETED) in self.executables


def find(footprint: Footprint) -> list[psutil.Process]:
    """Return our processes, except this one and those that started it."""
    ourselves = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in ourselves and footprint.matches(process.cwd(), process.exe()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone, a zombie, or another user's
    return found


def end_all(footprint: Footprint) -> int:
    """End our processes, return how many there were. Supervisord goes first: it would restart the others."""
    ended: set[int] = set()
    for _ in range(3):  # again for what was being forked meanwhile
        processes = find(footprint)
        if not processes:
            break
        ended |= {process.pid for process in processes}
        _end([p for p in processes if _is_supervisor(p)], signal.SIGKILL)
        _end([p for p in processes if not _is_supervisor(p)], signal.SIGTERM)
    return len(ended)


def _is_supervisor(process: psutil.Process) -> bool:
    try:
        return "supervisor.supervisord" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _end(processes: list[psutil.Process], gentle: signal.Signals) -> None:
    for process in processes:
        _signal(process, gentle)
    _, left = psutil.wait_procs(processes, timeout=_GRACE_SECONDS)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=_GRACE_SECONDS)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        # SIGTERM makes Postgres wait for its clients to leave; SIGINT is its fast, clean stop.
        is_postgres = number is signal.SIGTERM and Path(process.exe()).name == "postgres"
        process.send_signal(signal.SIGINT if is_postgres else number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return
