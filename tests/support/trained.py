"""MLflow for the rooms that come after a training: the toy is trained there as of both dates."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mlflow_uri(trained_only: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow on a SQLite file, in which the toy is trained already."""
    return f"sqlite:///{shutil.copy(trained_only, tmp_path_factory.mktemp('mlflow') / 'mlflow.db')}"
