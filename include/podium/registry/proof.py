"""Saved means proved: a saved model is closed, and answers its example in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

from podium.errors import TrainerError
from podium.model_file.user_code import INSTALLED, is_project_code

# Run as a program, which needs MLflow and nothing else of Podium than these.
_PROGRAM = "podium.registry.example"
_ITS_FILES = ("example.py", "flavours.py")
WAY_OUT = (
    "Make it a model FromCode, whose script is saved with it, or use steps of installed packages "
    "(docs/model-file.md)"
)


def prove(folder: Path, gaps: Path | None = None) -> None:
    """Make sure that a saved model is there: load it in a process of its own, and ask it its example.

    Nothing of the project can be imported there, as where it is served later, or after an edit.

    Args:
        folder: The model's.
        gaps: See ``problem_in``.

    Raises:
        TrainerError: It refers to code of the project, does not load, or answers other than when trained.
    """
    refuse_open(_names_held(folder))
    if problem := fresh_problem(folder, gaps):
        hint = f". {WAY_OUT}" if "No module named" in problem else ""
        raise TrainerError(f"the saved model {problem}{hint}")


def refuse_open(names: Iterable[str]) -> None:
    """Refuse a model that refers to code of the project by name: the code is not saved with it.

    Args:
        names: Of functions and classes, with their modules, such as ``trainers.house_prices.clip``.

    Raises:
        TrainerError: One is code of the project; names it, and says the way out.
    """
    if found := sorted(name for name in set(names) if is_project_code(name)):
        raise TrainerError(
            f"the model refers to {', '.join(found)}, which is code of this project and not saved with it: "
            f"after an edit, the same version would give other answers. {WAY_OUT}"
        )


def _names_held(folder: Path) -> Iterator[str]:
    """Yield what a scikit-learn model refers to by name, as skops wrote it."""
    for path in folder.rglob("*.skops"):
        with ZipFile(path) as archive:
            yield from _names(json.loads(archive.read("schema.json")))


def _names(node: Any) -> Iterator[str]:
    """Yield the function or class of a node of skops's schema, and those of the nodes in it."""
    if isinstance(node, dict):
        if isinstance(node.get("__module__"), str):
            yield f"{node['__module__']}.{node.get('__class__')}"
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _names(inner)


def fresh_problem(folder: Path, gaps: Path | None = None) -> str:
    """Say what ``problem_in`` says in a new process without the project; "" if the model is right.

    Raises:
        TrainerError: The process ended without an answer.
    """
    with TemporaryDirectory(prefix="podium-") as elsewhere:
        _copy_program(Path(elsewhere))
        done = subprocess.run(
            [sys.executable, "-P", "-m", _PROGRAM, *(str(path.resolve()) for path in (folder, gaps) if path)],
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([elsewhere, *_path_without_project()])},
            capture_output=True,
            text=True,
            check=False,
        )
    answer = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode or not answer.startswith('"'):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise TrainerError(f"the saved model ends the process that loads it (code {done.returncode}): {last}")
    problem: str = json.loads(answer)
    return problem


def _copy_program(folder: Path) -> None:
    """Copy the program's own files, under the names by which they import each other."""
    room = folder.joinpath(*_PROGRAM.split(".")[:-1])
    room.mkdir(parents=True)
    for package in (room.parent, room):
        (package / "__init__.py").touch()
    for name in _ITS_FILES:
        copyfile(Path(__file__).with_name(name), room / name)


def _path_without_project() -> list[str]:
    """Return where Python looks for installed packages."""
    return [path for path in sys.path if INSTALLED & set(Path(path).parts)]
