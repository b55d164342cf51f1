"""The benches, the document that explains them, and what they keep."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from podium.settings import PROJECT_ROOT

DOCUMENT = (PROJECT_ROOT / "docs" / "performance.md").read_text()


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT_ROOT / "benchmarks"))


@pytest.fixture
def results(benchmarks: None) -> ModuleType:
    import results

    return results


@pytest.fixture
def report(benchmarks: None) -> ModuleType:
    import report

    return report


def test_every_bench_is_explained_and_no_other() -> None:
    targets = re.findall(r"^(bench-[a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)
    table = DOCUMENT.partition("## The benches")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| `make (bench-[a-z-]+)` \|", table, re.MULTILINE)
    assert sorted(explained) == sorted(set(targets) - {"bench-quick"})


def test_the_benches_that_the_document_has_in_the_suite_are_in_it() -> None:
    suite = (PROJECT_ROOT / "Makefile").read_text().partition("SUITE :=")[2].partition("\n\n")[0]
    explained = re.findall(r"^\| `make (bench-[a-z-]+)` \|.*\| yes \|$", DOCUMENT, re.MULTILINE)
    assert set(explained) == set(re.findall(r"bench-[a-z]+", suite))


def test_what_a_bench_kept_is_in_the_report_with_where_it_was_measured(
    results: ModuleType, report: ModuleType, tmp_path: Path
) -> None:
    kept = [results.at_most("lifecycle / script", 1.31, "x", 1.0), results.Figure("rows", 12345.6, "rows/s")]
    results.keep("older", kept, tmp_path)
    results.keep("older", kept[:1], tmp_path)
    results.keep("other", kept[1:], tmp_path)
    facts = json.loads((tmp_path / "older.json").read_text())
    assert {"cores", "memory_gb", "cpu", "python", "load_before"} <= set(facts["machine"])
    shown = report.markdown(report.newest(tmp_path))
    assert shown.splitlines()[2:4] == [
        "| older | lifecycle / script | 1.31 x | <= 1 x | missed |",
        "| other | rows | 12,346 rows/s |  |  |",
    ]
    assert f"commit {facts['commit']}; {facts['machine']['cores']} cores" in shown


def test_the_report_replaces_what_is_between_its_markers_alone(report: ModuleType) -> None:
    once = report.written_into(DOCUMENT, "| a table |\n")
    assert report.written_into(once, "| another |\n") == once.replace("| a table |", "| another |")
    assert once.startswith(DOCUMENT.partition(report.BEGIN)[0])
    assert once.endswith(DOCUMENT.partition(report.END)[2])
    with pytest.raises(SystemExit, match="markers"):
        report.written_into("no markers", "| a table |\n")


def test_a_fleet_needs_what_its_costs_say(benchmarks: None) -> None:
    import fleet

    costs = fleet.Costs(
        slot=70, tasks=35, scheduler=7, api=0.7, mlflow=0.7, postgres=0.7, idle_connections=20,
        slot_connections=2,
    )  # fmt: skip
    # A hundred seconds between two lifecycles.
    assert fleet.needed(costs, 36, 1) == fleet.Needs(
        slots=1, cores=1, schedulers=1, api_servers=1, mlflow_workers=1, connections=22
    )
    # A tenth of a second between them.
    busy = fleet.needed(costs, 36_000, 1)
    assert busy == fleet.Needs(1000, 500, 100, 10, 10, connections=4000)
    # Four slots for 70 s each; then two cores for the 44.1 s of all programs.
    assert fleet.together(costs, 40, slots=4, cores=8) == pytest.approx(700)
    assert fleet.together(costs, 40, slots=40, cores=2) == pytest.approx(882)
    assert fleet.together(costs, 1, slots=4, cores=8) == 70
