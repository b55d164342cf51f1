"""A holdout of any length is judged in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support import big_holdout
from support.patience import PATIENCE_SECONDS

# Few are some batches already: the first ones are what every holdout needs.
FEW, MANY, FULL = 150_000, 350_000, 1_000_000
MEGABYTES_OF_INPUTS = (MANY - FEW) * len(big_holdout.COLUMNS) * 8 / 1e6


def start(folder: Path, rows: int) -> subprocess.Popen[str]:
    folder.mkdir()
    command = [sys.executable, "-m", "support.big_holdout", str(folder), str(rows)]
    paths = os.pathsep.join(sys.path)
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    )


def megabytes(process: subprocess.Popen[str], rows: int) -> tuple[float, float]:
    """Return what its allocators had handed out at most, and what the system says that it held at most.

    The second differs by tens of megabytes between equal runs: by when memory is given back to the system.
    """
    said = json.loads(process.communicate(timeout=PATIENCE_SECONDS)[0].splitlines()[-1])
    assert said["rows"] == rows
    return said["allocated"], said["resident"]


def test_memory_does_not_grow_with_the_inputs(tmp_path: Path) -> None:
    few, many = start(tmp_path / "few", FEW), start(tmp_path / "many", MANY)
    (small, _), (large, resident) = megabytes(few, FEW), megabytes(many, MANY)
    assert small < 250
    assert large - small < MEGABYTES_OF_INPUTS * 2 / 3
    at_full_size = resident + (large - small) / (MANY - FEW) * (FULL - MANY)
    assert at_full_size < 1500
