"""Aliases and tags that are read over HTTP alone are those that MLflow's client reads."""

from __future__ import annotations

import uuid

import pytest

from podium.errors import Outage, PodiumError
from podium.names import Alias, Tag
from podium.registry import labels
from podium.registry.client import Registry
from podium.services import Services
from podium.settings import Settings
from support.mlflow_client import raw
from support.mlflow_server import GuardedMlflow
from support.steps import FIRST, TRAINED


@pytest.fixture
def registry(mlflow_server: GuardedMlflow, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Three models in a server that takes a login, one of them with an odd name and a champion."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", mlflow_server.username)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", mlflow_server.password)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    registry = Registry(mlflow_server.uri)
    names = [f"{name} {uuid.uuid4().hex[:6]}" for name in ("plain", "somebody's", "kept")]
    for name in names:
        raw(registry).create_registered_model(name)
        registry.set_model_tag(name, Tag.LEDGER_HEAD, f"7:{name}")
    registry.set_alias(names[1], Alias.CHAMPION, registry.add_version(names[1], TRAINED[FIRST].run_id, {}))
    return registry


def test_they_are_those_that_the_client_reads_page_by_page(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = registry.all_labels()
    assert len(expected) >= 3
    assert {"champion": 1} in [one.aliases for one in expected.values()]
    monkeypatch.setattr(labels, "MODELS_A_PAGE", 2)
    services = Services(Settings())
    assert services.all_labels() == {
        name: (one.aliases, dict(one.tags), one.newest) for name, one in expected.items()
    }
    assert "registry" not in vars(services)


def test_a_wrong_login_and_an_mlflow_that_is_away_are_told_apart(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Outage, match="listing the registered models: MLflow did not answer"):
        labels.all_labels("http://127.0.0.1:1", ("podium", "guessed"))
    with pytest.raises(PodiumError, match="listing the registered models: MLflow refused: 401"):
        labels.all_labels(registry.tracking_uri, ("podium", "guessed"))


def test_where_the_environment_holds_no_login_the_client_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    assert labels.login_of("http://127.0.0.1:5000") is None
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "podium")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a long secret")
    assert labels.login_of("http://127.0.0.1:5000") == ("podium", "a long secret")
    assert labels.login_of("sqlite:///mlflow.db") is None
