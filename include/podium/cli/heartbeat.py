"""``podium heartbeat``: a health check of one part of Airflow, for containers."""

from __future__ import annotations

from typing import Annotated

import typer

from podium.cli.app import app
from podium.operations.heartbeat import PARTS, assert_healthy


@app.command()
def heartbeat(part: Annotated[str, typer.Argument(help=f"One of {', '.join(PARTS)}.")]) -> None:
    """Exit with 0 if this part of Airflow has a fresh heartbeat; imports nothing heavy."""
    assert_healthy(part)
