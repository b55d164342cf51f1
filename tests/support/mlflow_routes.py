"""Every route that the installed MLflow has, and the table of who may use which.

A new MLflow with other routes: read what they do, open them in ``operations/mlflow_door.py`` if Podium needs
them, and write the table that the failing test prints.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from podium.settings import PROJECT_ROOT
from support.mlflow_server import guarded_environment
from support.patience import PATIENCE_SECONDS
from support.route_tables import Route, RouteTable

TABLE = RouteTable(
    PROJECT_ROOT / "tests" / "data" / "mlflow_routes.csv",
    ("nobody", "reader", "podium", "retention", "admin"),
)


def installed_routes(folder: Path) -> set[Route]:
    """Ask the installed MLflow, in a process of its own: to make its application changes much."""
    # What `mlflow server` tells its application, which is not FastAPI's without:
    # https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/environment_variables.py
    environment = guarded_environment(folder, folder / "mlflow.db") | {"_MLFLOW_SGI_NAME": "uvicorn"}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(PROJECT_ROOT / "tests")])
    command = [sys.executable, "-m", "support.mlflow_routes"]
    done = subprocess.run(
        command, env=environment, cwd=folder, stdout=-1, check=True, timeout=PATIENCE_SECONDS
    )
    return {(method, route) for method, route in json.loads(done.stdout.splitlines()[-1])}


def _routes_of_the_application() -> Iterator[Route]:
    from fastapi.routing import APIRoute
    from starlette.routing import Mount

    from podium.operations.mlflow_door import create_app

    app = create_app().app
    for route in app.routes:  # type: ignore[attr-defined]
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods)
        else:
            assert isinstance(route, Mount), f"a route of a kind that is new here: {route!r}"
            yield from _routes_of_flask(route.app.app.url_map.iter_rules())  # type: ignore[attr-defined]


def _routes_of_flask(rules: Iterable[object]) -> Iterator[Route]:
    for rule in rules:
        path = re.sub(r"<path:(\w+)>", r"{\1:path}", rule.rule)  # type: ignore[attr-defined]
        path = re.sub(r"<(\w+)>", r"{\1}", path)
        assert "<" not in path, f"a placeholder of a kind that is new here: {path}"
        yield from ((method, path) for method in rule.methods - {"HEAD", "OPTIONS"})  # type: ignore[attr-defined]


if __name__ == "__main__":
    print(json.dumps(sorted(_routes_of_the_application())))
