"""``podium metrics``: what monitoring has on record, for Prometheus."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from podium.cli.app import app, console


@app.command()
def metrics(
    port: Annotated[
        int | None, typer.Option(help="Serve them on this port until stopped; without it: print them.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
) -> None:
    """Print windows, verdicts and automatic trainings as Prometheus metrics, or serve them.

    It asks the ledger alone, at each scrape.
    """
    from podium.reporting.prometheus import metrics_text, registry_of
    from podium.services import connect

    ledger = connect().ledger
    if port is None:
        typer.echo(metrics_text(ledger), nl=False)
        return
    from prometheus_client import start_http_server

    start_http_server(port, host, registry_of(ledger))
    console.print(f"Metrics of monitoring: http://{host}:{port}/metrics", soft_wrap=True, highlight=False)
    threading.Event().wait()
