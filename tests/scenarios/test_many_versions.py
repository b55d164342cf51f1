"""Thousands of versions of one model are judged by a number of requests that grows with pages alone."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from podium.ledger import custody
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle.retention_look import look
from podium.lifecycle.retention_rules import Action
from podium.model_file.retention import RetentionSpec
from podium.registry.client import Registry
from podium.reporting.old_versions import old_versions
from support.services import services_with

MANY = 1_500
RULES = RetentionSpec(former_champions=3, versions=20, days=0)
FILES = [{"path": f"file-{n}", "size": 1000, "sha256": f"{n}" * 64} for n in range(8)]


def fill_ledger(ledger: Ledger, model: str) -> None:
    for number in range(1, MANY + 1):
        ledger.append(
            NewEvent(
                EventKind.REGISTERED,
                model,
                number,
                details={
                    "mlflow_run": f"{number:032x}",
                    "manifest": FILES,
                    "manifest_digest": f"digest-{number}",
                    "signature": {},
                },
            )
        )


def fill_registry(uri: str, model: str) -> None:
    """Write the versions into MLflow's tables; over its API they would take minutes."""
    MlflowClient(uri).create_registered_model(model)
    now = int(datetime.now(UTC).timestamp() * 1000)
    statement = sa.text(
        "INSERT INTO model_versions (name, version, creation_time, last_updated_time, source, run_id, "
        "current_stage, status, workspace) VALUES (:name, :version, :now, :now, :source, :run, 'None', "
        "'READY', 'default')"
    )
    rows: list[dict[str, Any]] = [
        {"name": model, "version": n, "now": now, "source": f"models:/m-{n}", "run": f"{n:032x}"}
        for n in range(1, MANY + 1)
    ]
    with sa.create_engine(uri).begin() as connection:
        connection.execute(statement, rows)


def test_thousands_of_versions_are_judged_by_as_many_requests_as_there_are_pages(
    own_ledger: Ledger, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = "many", Counter[str]()
    fill_ledger(own_ledger, model)
    fill_registry(mlflow_uri, model)
    for name in ("search_model_versions", "search_registered_models", "get_model_version"):
        real = getattr(MlflowClient, name)

        def counted(self: Any, *given: Any, _name: str = name, _real: Any = real, **more: Any) -> Any:
            asked[_name] += 1
            return _real(self, *given, **more)

        monkeypatch.setattr(MlflowClient, name, counted)
    services = services_with(own_ledger, Registry(mlflow_uri))
    seen = look(services, model, RULES)
    actions = Counter(one.action for one in seen.verdicts)
    assert actions == {Action.QUARANTINE: MANY - 20, Action.KEEP: 20}
    # Pages of a thousand versions, and of each hundred runs a look for whoever shares their files.
    assert asked["search_model_versions"] <= MANY / 1000 + MANY / 100 + 1
    assert asked["get_model_version"] == 0
    assert asked["search_registered_models"] <= 2
    assert custody.newest_numbers(own_ledger, model, 1) == [MANY]
    # The page of a model asks the ledger alone.
    asked.clear()
    found = old_versions(services, model, RULES, {})
    assert (len(found.rows), found.more) == (30, MANY - 50)
    assert not asked
