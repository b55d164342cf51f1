"""``podium gates``: how a version came through its gates, or how it would by changed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from podium.cli.app import Json, Model, app, console, print_json
from podium.errors import PodiumError


@app.command()
def gates(
    model: Model,
    version: Annotated[int, typer.Argument(help="A version that was validated, such as 3.")],
    replay: Annotated[
        bool,
        typer.Option(help="Judge the stored answers again, by the gates in the model file now."),
    ] = False,
    file: Annotated[
        Path | None, typer.Option(help="With --replay: another model file to take the gates from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a version's gate report; with --replay, evaluate its stored answers against changed gates."""
    from podium.lifecycle.approval import gate_report, report_of
    from podium.model_file.loading import find_spec, load_spec
    from podium.reporting.status import known_model
    from podium.reporting.tables import gates_table, labels_table, scores_table
    from podium.services import connect

    if file is not None and not replay:
        raise PodiumError("--file needs --replay: a recorded report does not change")
    services = connect()
    events = services.ledger.present(known_model(services, model), version)
    recorded = report_of(gate_report(events, version))
    report, before = recorded, None
    if replay:
        from podium.lifecycle.validate import replay_gates

        spec = find_spec(services.settings.models_dir, model) if file is None else load_spec(file)
        if spec.name != model:
            raise PodiumError(f"{file} is the model file of {spec.name}, not of {model}")
        report, before = replay_gates(services, spec, version), recorded
    if as_json:
        print_json(report.as_json())
        return
    for note in report.notes:
        console.print(f"{note}.", style="yellow")
    console.print(gates_table(report))
    console.print(scores_table(report))
    if (labels := labels_table(report.labels_by_title())) is not None:
        console.print(labels)
    if before is not None:
        console.print(f"At validation: {before.sentence()}.")
    now = "With these gates, on the same answers" if replay else "So"
    console.print(f"{now}: {report.sentence()}.")
