"""Where MLflow's login and a model server's ledger come from: beside the address, from no other place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podium.errors import PodiumError
from podium.settings import Settings, load_server_settings, load_settings, read_settings

NAMES = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


@pytest.fixture
def client_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that `make up` writes, and nothing of MLflow in the environment."""
    file = tmp_path / "client.env"
    values = ("http://127.0.0.1:24000", "podium", "of-the-embedded-stack")
    lines = [f"{name}={value}\n" for name, value in zip(NAMES, values, strict=True)]
    ledgers = ["PODIUM_LEDGER_URL=postgresql://x\n", "PODIUM_LEDGER_SERVER_URL=postgresql://for-servers\n"]
    file.write_text("".join([*lines, *ledgers]))
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    for name in (*NAMES, "PODIUM_LEDGER_URL", "PODIUM_LEDGER_SERVER_URL"):
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


@pytest.mark.parametrize(
    ("environment", "for_servers", "for_others"),
    [
        ({}, "for-servers", "x"),
        ({"PODIUM_LEDGER_SERVER_URL": "postgresql://elsewhere"}, "elsewhere", "x"),
        ({"PODIUM_LEDGER_URL": "postgresql://elsewhere"}, "elsewhere", "elsewhere"),
        (
            {"PODIUM_LEDGER_URL": "postgresql://one", "PODIUM_LEDGER_SERVER_URL": "postgresql://two"},
            "two",
            "one",
        ),
        ({"PODIUM_LEDGER_URL": ""}, "for-servers", "x"),
    ],
)
def test_a_model_server_has_an_address_of_its_own_and_the_environment_comes_before_the_file(
    client_env: None,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    for_servers: str,
    for_others: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = [load().ledger_url.get_secret_value() for load in (load_server_settings, load_settings)]
    assert found == [f"postgresql://{for_servers}", f"postgresql://{for_others}"]


def test_a_model_server_needs_an_address_of_a_ledger(
    monkeypatch: pytest.MonkeyPatch, client_env: None, tmp_path: Path
) -> None:
    (tmp_path / "client.env").write_text("MLFLOW_TRACKING_URI=http://127.0.0.1:24000\n")
    with pytest.raises(PodiumError, match="PODIUM_LEDGER_SERVER_URL not set"):
        load_server_settings()
    with pytest.raises(PodiumError, match="PODIUM_LEDGER_URL not set"):
        load_settings()


def test_what_changes_is_read_and_what_does_not_is_not_read_again(
    client_env: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PODIUM_HOME", raising=False)
    first = read_settings()
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    assert read_settings() is first
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path / "elsewhere"))
    assert read_settings().home == tmp_path / "elsewhere"
    monkeypatch.delenv("PODIUM_HOME")
    (tmp_path / "client.env").write_text(f"PODIUM_HOME={tmp_path / 'by the file'}\n")
    assert read_settings().home == tmp_path / "by the file"
    (tmp_path / "client.env").unlink()
    assert read_settings().home == first.home
