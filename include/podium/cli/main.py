"""The command ``podium``, with all of its subcommands."""

from __future__ import annotations

import logging
import os

from podium.cli import (
    adopt,
    backup,
    compare,
    copy,
    decide,
    doctor,
    drift,
    explain,
    gates,
    heartbeat,
    hold,
    initialise,
    mend,
    metrics,
    mlflow_server,
    model_files,
    monitor,
    notify,
    records,
    retention,
    rollback,
    run,
    score,
    serve,
    stack,
    train,
    watch,
)
from podium.cli.app import app
from podium.reporting.terminal import VisibleFormatter

__all__ = [
    "adopt",
    "app",
    "backup",
    "compare",
    "copy",
    "decide",
    "doctor",
    "drift",
    "explain",
    "gates",
    "heartbeat",
    "hold",
    "initialise",
    "mend",
    "metrics",
    "mlflow_server",
    "model_files",
    "monitor",
    "notify",
    "records",
    "retention",
    "rollback",
    "run",
    "score",
    "serve",
    "stack",
    "train",
    "watch",
]


@app.callback()
def main() -> None:
    """The model lifecycle: who is champion, who decided it, and why."""
    # Of logging's own for warnings, where a command sets up no other.
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(VisibleFormatter())
    # A person at a terminal wants to be told soon; tasks wait longer.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
