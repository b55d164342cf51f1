"""Where MLflow shows a version and a run: pages of its UI, which promises no address.

https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/server/js
"""

from __future__ import annotations

import os
from urllib.parse import quote

# Without a workspace in the link, a browser that was never there before is asked for one, and ends elsewhere.
_DEFAULT_WORKSPACE = "default"


def version_page(mlflow: str, model: str, number: int) -> str:
    """Return the address of a version's page; ``mlflow`` is MLflow's address for people's browsers."""
    return _page(mlflow, f"models/{quote(model, safe='')}/versions/{number}")


def run_page(mlflow: str, experiment: str, run_id: str) -> str:
    """Return the address of a run's page."""
    return _page(mlflow, f"experiments/{experiment}/runs/{run_id}")


def _page(mlflow: str, path: str) -> str:
    workspace = os.environ.get("MLFLOW_WORKSPACE") or _DEFAULT_WORKSPACE
    return f"{mlflow.rstrip('/')}/#/{path}?workspace={quote(workspace, safe='')}"
