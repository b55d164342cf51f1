"""What is said of wrong model files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from podium.errors import SpecError


def line_of(path: Path, text: str) -> int:
    """The number of the first line that has a text."""
    return next(number for number, line in enumerate(path.read_text().splitlines(), start=1) if text in line)


def problem_without_line(path: Path, error: SpecError) -> str:
    """What is said of a file with one problem, after path and line; the line is that of the key it names.

    The file has one key or item a line, as ``yaml.safe_dump`` writes it.
    """
    said = re.fullmatch(rf"{re.escape(str(path))}: line (\d+): (.*)", str(error), re.DOTALL)
    assert said is not None, str(error)
    number, problem = int(said[1]), said[2]
    line, key = path.read_text().splitlines()[number - 1], _key_of(problem)
    begins = line.replace("'", "").lstrip()
    assert key in (begins[: len(key)], begins.removeprefix("- ")[: len(key)]), (
        f"line {number} is {line!r}, but: {problem}"
    )
    return problem


def _key_of(problem: str) -> str:
    """What stands in the line: the key, the dash of an item, the section of a missing key."""
    location, *rest = problem.split(": ")
    if rest[0].startswith("key "):
        key = rest[0].removeprefix("key ").strip("'")
        return f"{key}:"
    if rest[0].startswith("missing"):
        location = location.rpartition(".")[0]
    return "- " if location.endswith("]") else f"{location.rpartition('.')[2]}:"


SEARCH: dict[str, Any] = {
    "trials": 5,
    "metric": "log_loss",
    "validation": {"days": 50},
    "space": {"strength": {"low": 0.01, "high": 10, "log": True}},
}


def profile(**said: Any) -> dict[str, Any]:
    return {"profiles": {"ci-smoke": said}}


RANKING = {"task": "ranking", "labels": [], "gates": [{"min_holdout_rows": 5}]}
