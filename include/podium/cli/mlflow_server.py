"""``podium mlflow-server``: the MLflow server with logins, as both stacks run it."""

from __future__ import annotations

from typing import Annotated

import typer

from podium.cli.app import app


@app.command()
def mlflow_server(
    host: Annotated[str, typer.Option(help="The address to listen on.")],
    port: Annotated[int, typer.Option(help="The port to listen on.")],
    bucket: Annotated[str, typer.Option(help="The bucket of the artifacts.")],
) -> None:
    """Become the MLflow server with logins; its databases and keys are in the environment."""
    from podium.operations.mlflow_server import become_server

    become_server(host, port, bucket)
