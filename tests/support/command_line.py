"""The commands as people type them, and as the documents say them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from podium.settings import PROJECT_ROOT
from podium.stack.running_stack import Stack
from support.patience import PATIENCE_SECONDS
from support.places import MODELS, TRAINERS


def commands_of(*documents: Path) -> list[str]:
    """Return the commands of documents, without the program's name."""
    blocks = "".join(re.findall(r"```sh\n(.*?)```", "".join(map(Path.read_text, documents)), re.DOTALL))
    return re.findall(r"^\.venv/bin/podium (.*)$", blocks, re.MULTILINE)


def podium(
    stack: Stack, *words: str, folder: Path = Path("/"), **more: str
) -> subprocess.CompletedProcess[str]:
    program = [str(Path(sys.executable).parent / "podium"), *words]
    environment = {
        **stack.client_env(),
        "PODIUM_MODELS_DIR": str(MODELS),
        "PATH": "",
        # Podium of this checkout, wherever the program was installed from, and the toys' trainers.
        "PYTHONPATH": os.pathsep.join((str(PROJECT_ROOT / "include"), str(TRAINERS.parent))),
        "COLUMNS": "160",
        **more,
    }
    return subprocess.run(
        program,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        cwd=folder,
    )


def stack_command(state_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run what is behind ``make up``, ``down``, ``status``, ``backup`` and ``restore``."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "include"), "COLUMNS": "200"}
    program = [sys.executable, "-m", "podium", "stack", *words, "--state-dir", str(state_dir)]
    return subprocess.run(
        program, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
