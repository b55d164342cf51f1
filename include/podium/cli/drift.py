"""``podium drift``: what is on record of a model's windows."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated

import typer

from podium.cli.app import Json, Model, app, console, parse_moment, print_json


@app.command()
def drift(
    model: Model,
    since: Annotated[str | None, typer.Option(help="Only windows from this date or moment on (UTC).")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the windows into this PNG file.")] = None,
    as_json: Json = False,
) -> None:
    """Show what monitoring has on record of a model: each window's verdict, and what moved most.

    It reads only the ledger. A window that was judged again is shown as it was judged last.
    """
    from podium.monitoring.on_record import recorded_windows
    from podium.reporting.drift import drift_sentence, drift_table, evidence_table
    from podium.reporting.status import known_model
    from podium.services import connect

    services = connect()
    first = None if since is None else parse_moment(since, "--since", time.min)
    windows = recorded_windows(services.ledger, known_model(services, model), first)
    if as_json:
        print_json({"model": model, "windows": [window.as_json() for window in windows]})
    else:
        console.print(drift_sentence(model, windows), soft_wrap=True, highlight=False)
        if windows:
            console.print(drift_table(windows, console.width))
            console.print(evidence_table(windows, console.width))
    if png is not None and windows:
        from podium.ledger.events import CHAMPION_MOVES
        from podium.reporting.drift_picture import draw

        draw(windows, png, services.ledger.history(model, kinds=CHAMPION_MOVES))
