"""Where MLflow's login comes from: beside the address, never from another place than it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podium.settings import Settings, load_settings

NAMES = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


@pytest.fixture
def client_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that `make up` writes, and nothing of MLflow in the environment."""
    file = tmp_path / "client.env"
    values = ("http://127.0.0.1:24000", "podium", "of-the-embedded-stack")
    lines = [f"{name}={value}\n" for name, value in zip(NAMES, values, strict=True)]
    file.write_text("".join([*lines, "PODIUM_LEDGER_URL=postgresql://x\n"]))
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    for name in NAMES:
        # Set first, so that what is set in between is gone afterwards.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_login_of_the_file_is_put_where_mlflows_client_looks(client_env: None) -> None:
    assert load_settings().mlflow_tracking_uri == "http://127.0.0.1:24000"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "podium"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "of-the-embedded-stack"


def test_another_server_never_gets_the_login_of_the_file(
    client_env: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    settings = load_settings()
    assert settings.mlflow_tracking_uri == "https://mlflow.example.com"
    assert not {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"} & os.environ.keys()
    assert "of-the-embedded-stack" not in repr(settings)
