"""What each bench measured: printed as a table, and kept as JSON for ``benchmarks/report.py``."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from podium.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / ".podium" / "bench"
# Few rounds on small sizes: to see that a bench works, and what it prints.
QUICK = os.environ.get("QUICK", "") not in ("", "0")
# Of the minute before the bench began.
_LOAD_BEFORE = os.getloadavg()[0]


@dataclass(frozen=True)
class Figure:
    """One number that a bench measured.

    Attributes:
        name: What was measured, as the reports show it.
        value: The number; a median where it was measured several times.
        unit: Such as ``s``, ``x`` (a ratio within one run) or ``/s``.
        goal: What is aimed at, in words; None: nothing.
        holds: Whether the goal holds; None where there is none.
    """

    name: str
    value: float
    unit: str
    goal: str | None = None
    holds: bool | None = None


def at_most(name: str, value: float, unit: str, limit: float) -> Figure:
    """Return a figure whose goal is an upper limit."""
    return Figure(name, value, unit, f"<= {limit:g} {unit}", value <= limit)


def at_least(name: str, value: float, unit: str, limit: float) -> Figure:
    """Return a figure whose goal is a lower limit."""
    return Figure(name, value, unit, f">= {limit:g} {unit}", value >= limit)


def keep(bench: str, figures: Sequence[Figure], folder: Path = FOLDER) -> None:
    """Print the figures, and write them to ``<folder>/<bench>.json`` in place of the bench's earlier ones."""
    result = {
        "bench": bench,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "quick": QUICK,
        "machine": _machine(),
        "figures": [asdict(figure) for figure in figures],
    }
    Console(file=sys.stdout, width=120).print(_table(bench, figures))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{bench}.json").write_text(json.dumps(result, indent=2) + "\n")


def most_memory() -> int:
    """Return the most memory that this process had, in bytes.

    Linux counts in ``ru_maxrss`` what the parent had when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def number(value: float) -> str:
    """Return a number as people read it: three digits, or all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def verdict(holds: bool | None) -> str:
    """Return whether a goal holds, in a word."""
    return {True: "holds", False: "missed", None: ""}[holds]


def _table(bench: str, figures: Sequence[Figure]) -> Table:
    table = Table("measured", "value", "unit", "goal", "", title=f"bench-{bench}" + " (quick)" * QUICK)
    for figure in figures:
        cells = (figure.name, number(figure.value), figure.unit, figure.goal or "", verdict(figure.holds))
        table.add_row(*cells)
    return table


def _commit() -> str:
    """Return the commit of the code, with a plus where files differ from it."""
    words = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--exclude=*", "--dirty=+"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "cpu": _cpu_model(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load_before": round(_LOAD_BEFORE, 2),
    }


def _cpu_model() -> str:
    """Return what Linux calls the processor, else what Python does."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
