"""The plan of the house is what is there, and the lint that holds it refuses what it must."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podium.settings import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "include" / "podium"
MOST_ROOMS = 15


def drawn() -> str:
    text = (PROJECT_ROOT / "docs" / "architecture.md").read_text()
    return text.split("## The rooms of include/podium")[1].split("```")[1]


def test_each_module_is_in_the_drawing_and_no_other() -> None:
    modules = {path.stem for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__", "env"}
    modules = {name for name in modules if not name[0].isdigit()}
    files = {
        word
        for line in drawn().splitlines()
        if line.startswith(" " * 23)
        for word in re.findall(r"\w+", line)
    }
    rooms = set(re.findall(r"(\w+)/", drawn()))
    leaves = {"settings", "disk", "memory", "errors", "names", "services", "versions", "text"}
    missing = modules - files - rooms - leaves
    assert missing == set()
    there = {path.name for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= there | {"include"}


def test_there_are_few_rooms_and_each_says_what_it_is() -> None:
    rooms = [path.parent for path in PACKAGE.glob("*/__init__.py")]
    assert 10 < len(rooms) <= MOST_ROOMS
    # A folder without one is a room that the lint does not see.
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == {
        room.name for room in rooms
    }
    for room in rooms:
        assert (room / "__init__.py").read_text().startswith('"""'), room


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package, in which something can be planted."""
    shutil.copytree(PACKAGE, tmp_path / "podium", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


PLANTED = {
    "ledger/events.py": ("import podium.cli.app", "podium.ledger is not allowed to import podium.cli"),
    "training/split.py": ("import podium.training.fit", "No cycles are allowed in podium.training"),
    "registry/errors.py": (
        "import podium.ledger.store",
        "podium.registry is not allowed to import podium.ledger",
    ),
    "metrics/slices.py": (
        "import podium.ledger.store",
        "podium.metrics is not allowed to import podium.ledger",
    ),
    "monitoring/windows.py": (
        "import podium.reporting.tables",
        "podium.monitoring is not allowed to import podium.reporting",
    ),
    "model_file/types.py": ("import pandas", "podium.model_file is not allowed to import pandas"),
    "lifecycle/promote.py": ("import mlflow", "podium.lifecycle is not allowed to import mlflow"),
}


def plant(house: Path, where: str, line: str) -> None:
    path = house / "podium" / where
    before = path.read_text() if path.exists() else '"""New."""\n'
    path.write_text(f"{before}\n{line}\n")


def test_what_is_planted_is_refused(house: Path) -> None:
    for where, (line, _) in PLANTED.items():
        plant(house, where, line)
    done = lint(house)
    assert done.returncode == 1, done.stdout
    assert [said for _, said in PLANTED.values() if said not in done.stdout] == []


def test_a_file_without_a_room_is_refused(house: Path) -> None:
    plant(house, "a_new_file.py", "")
    done = lint(house)
    assert done.returncode == 1, done.stdout
    assert "a_new_file" in done.stdout


def test_the_house_as_it_is_holds(house: Path) -> None:
    done = lint(house)
    assert done.returncode == 0, done.stdout
