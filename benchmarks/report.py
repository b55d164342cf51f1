"""The newest result of each bench as one Markdown table, in ``.podium/bench/report.md``.

    python benchmarks/report.py [--write]

``--write`` puts it into docs/performance.md as well, between its two markers.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from results import FOLDER, number, verdict
from rich.console import Console

from podium.settings import PROJECT_ROOT

DOCUMENT = PROJECT_ROOT / "docs" / "performance.md"
BEGIN = "<!-- The table of `make bench`: begin -->"
END = "<!-- The table of `make bench`: end -->"


def newest(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return the result of each bench, by name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def markdown(results: list[dict[str, Any]]) -> str:
    """Return all figures as a table, and below it when and where each bench ran."""
    lines = ["| bench | measured | value | goal | |", "|---|---|---|---|---|"]
    for result in results:
        for figure in result["figures"]:
            value = f"{number(figure['value'])} {figure['unit']}".strip()
            goal, holds = figure["goal"] or "", verdict(figure["holds"])
            lines.append(f"| {result['bench']} | {figure['name']} | {value} | {goal} | {holds} |")
    return "\n".join([*lines, "", *map(_where, results)]) + "\n"


def _where(result: dict[str, Any]) -> str:
    facts = result["machine"]
    return (
        f"- `{result['bench']}`{', quick' if result['quick'] else ''}: {result['at']}, commit "
        f"{result['commit']}; {facts['cores']} cores ({facts['cpu']}), {facts['memory_gb']} GB, "
        f"{facts['system']}, Python {facts['python']}, load before {facts['load_before']}"
    )


def written_into(document: str, table: str) -> str:
    """Return a document with the table between its markers.

    Raises:
        SystemExit: A marker is missing.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{DOCUMENT}: the markers {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def main(words: list[str]) -> None:
    """Write the report, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="also into docs/performance.md")
    asked = parser.parse_args(words)
    results = newest()
    if not results:
        raise SystemExit(f"{FOLDER} has no results: run `make bench` first")
    table = markdown(results)
    report = FOLDER / "report.md"
    report.write_text(table)
    Console().print(f"{len(results)} benches: {report}", soft_wrap=True)
    if asked.write:
        DOCUMENT.write_text(written_into(DOCUMENT.read_text(), table))
        Console().print(f"written into {DOCUMENT}", soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
