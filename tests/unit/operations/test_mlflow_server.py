"""The MLflow server with logins: its configuration and its folder."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

import pytest

from podium.errors import PodiumError
from podium.operations import mlflow_server
from podium.operations.mlflow_server import auth_config


def test_mlflow_reads_the_database_of_the_logins_as_it_is() -> None:
    config = configparser.ConfigParser()
    config.read_string(auth_config("postgresql+psycopg2://mlflow:a%40b%25c@postgres/mlflow"))
    assert config["mlflow"]["database_uri"] == "postgresql+psycopg2://mlflow:a%40b%25c@postgres/mlflow"
    assert config["mlflow"]["default_permission"] == "READ"


@pytest.mark.parametrize("missing", mlflow_server._NEEDED)
def test_without_logins_it_does_not_start(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in mlflow_server._NEEDED:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv(missing, "")
    monkeypatch.setattr(mlflow_server.os, "execv", lambda *_: pytest.fail("it was started"))
    with pytest.raises(PodiumError, match=f"{missing} not set"):
        mlflow_server.become_server("127.0.0.1", 5000, "mlflow")


def test_its_home_and_working_directory_are_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "MLFLOW_AUTH_CONFIG_PATH", "MLFLOW_AUTH_ADMIN_USERNAME", *mlflow_server._NEEDED):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{tmp_path}/mlflow.db")
    started: list[list[str]] = []
    monkeypatch.setattr(mlflow_server.os, "execv", lambda _, command: started.append(command))
    mlflow_server.become_server("127.0.0.1", 5000, "mlflow")
    own = tmp_path / mlflow_server.SERVER_FOLDER
    assert (Path.cwd(), os.environ["HOME"]) == (own, str(own))
    assert own.stat().st_mode & 0o777 == 0o700
    config = Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"])
    assert (config.parent, config.stat().st_mode & 0o777) == (own, 0o600)
    assert "basic-auth" not in started[0]  # MLflow's own application has no door
