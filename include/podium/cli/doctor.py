"""``podium doctor``: checks every part."""

from __future__ import annotations

import os
from dataclasses import asdict

import typer
from rich.text import Text

from podium.cli.app import Json, app, console, print_json
from podium.reporting.terminal import Terminal
from podium.text import one_line


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check every service, one line each: the finding, and the remedy. Exit code 1 for a problem.

    Looks at what is configured: ledger, MLflow, store, Airflow, clocks, libraries, disks, model files, and
    champions, whose files it downloads. It changes nothing, but for a small object that it writes through
    MLflow and deletes again.
    """
    from podium.operations.doctor.examination import examine
    from podium.operations.doctor.findings import State
    from podium.settings import read_settings

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    colours = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "red", State.NOT_CHECKED: "dim"}
    findings = []
    progress = Terminal(stderr=True) if as_json else console
    with progress.status("checking") as status:
        for finding in examine(read_settings(), lambda doing: status.update(Text(doing))):
            findings.append(finding)
            if not as_json:
                line = Text(f"{finding.state:<12}", style=colours[finding.state])
                line.append(one_line(f"{finding.part}: {finding.observed}"), style="default")
                line.append(f" -> {one_line(finding.remedy)}" if finding.remedy else "", style="bold")
                console.print(line, soft_wrap=True, highlight=False)
    counts = {state.value: sum(finding.state is state for finding in findings) for state in State}
    if as_json:
        print_json({"counts": counts, "findings": [asdict(finding) for finding in findings]})
    else:
        console.print(", ".join(f"{count} {state}" for state, count in counts.items()), highlight=False)
    if counts[State.PROBLEM]:
        raise typer.Exit(1)
