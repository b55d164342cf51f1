"""Documents followed literally: their commands, run one block after the other in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from podium.settings import PROJECT_ROOT


def copy_project(home: Path) -> dict[str, str]:
    """Copy what a reader's commands need; returns the environment in which they run."""
    for folder in ("include", "qa", "examples"):
        shutil.copytree(PROJECT_ROOT / folder, home / folder)
    shutil.copy(PROJECT_ROOT / "pyproject.toml", home)
    (home / ".venv").symlink_to(Path(sys.executable).parent.parent)
    paths = [str(home / "include"), str(home)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "160"}
    for name in ("PODIUM_HOME", "PODIUM_MODELS_DIR"):
        environment.pop(name, None)
    return environment


def follow(document: Path, home: Path, environment: dict[str, str]) -> str:
    """Run a document's commands; returns what they printed."""
    told = ""
    for block in re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL):
        done = subprocess.run(
            ["sh", "-e", "-c", block], cwd=home, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        told += done.stdout
    return told
