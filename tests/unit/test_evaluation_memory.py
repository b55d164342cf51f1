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
FEW, MANY = 150_000, 350_000
MEGABYTES_OF_INPUTS = (MANY - FEW) * len(big_holdout.COLUMNS) * 8 / 1e6


def start(folder: Path, rows: int) -> subprocess.Popen[str]:
    folder.mkdir()
    command = [sys.executable, "-m", "support.big_holdout", str(folder), str(rows)]
    paths = os.pathsep.join(sys.path)
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    )


def megabytes(process: subprocess.Popen[str], rows: int) -> float:
    said = json.loads(process.communicate(timeout=PATIENCE_SECONDS)[0].splitlines()[-1])
    assert said["rows"] == rows
    return float(said["megabytes"])


def test_memory_does_not_grow_with_the_inputs(tmp_path: Path) -> None:
    few, many = start(tmp_path / "few", FEW), start(tmp_path / "many", MANY)
    small, large = megabytes(few, FEW), megabytes(many, MANY)
    assert small < 250
    assert large - small < MEGABYTES_OF_INPUTS * 2 / 3
