"""Answers at the same moment, through Airflow's own API server on Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle import approval
from podium.model_file.spec import ModelSpec
from podium.stack.layout import Layout
from support.database import as_superuser
from support.services import services_with
from support.toy import TOY

APPROVERS = ["Approver", "admin"]
PASSWORDS = ("VIEWER", "OPERATOR", "APPROVER", "ADMIN", "LOOKUP")


@pytest.fixture
def airflow_database(layout: Layout) -> Iterator[str]:
    name = f"airflow_{uuid.uuid4().hex[:8]}"
    as_superuser(layout, f"CREATE DATABASE {name} OWNER ledger_owner")
    yield layout.database_url("ledger_owner", name)
    as_superuser(layout, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("required", [1, 2])
def test_each_is_on_record_and_the_rejection_wins(
    run_script: Callable[..., Any], ledger_url: str, airflow_database: str, tmp_path: Path, required: int
) -> None:
    from podium.ledger.store import Ledger

    model = f"asked-{uuid.uuid4().hex[:8]}"
    content = {**TOY, "name": model, "approval": {"approvers": APPROVERS, "required": required}}
    (tmp_path / f"{model}.yaml").write_text(yaml.safe_dump(content))
    policy = ModelSpec.model_validate(content).approval
    services, run = services_with(Ledger(ledger_url)), f"lifecycle_{model.replace('-', '_')}/r1"
    for event in (
        NewEvent(EventKind.REGISTERED, model, 1, details={"manifest": [], "manifest_digest": "m"}),
        NewEvent(EventKind.GATES_PASSED, model, 1, run=run, details={"digest": "g"}),
        NewEvent(EventKind.NOMINATED, model, 1, run=run, key=f"nominated:{run}"),
    ):
        services.ledger.append(event)
    request = approval.open_request(services, policy, model, run)

    told = run_script(
        "answers_at_once.py",
        ASKED=run,
        AIRFLOW__CORE__AUTH_MANAGER="podium_airflow.auth_manager.PodiumFabAuthManager",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=airflow_database,
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db",
        PODIUM_LEDGER_URL=ledger_url,
        PODIUM_MODELS_DIR=str(tmp_path),
        **{f"PODIUM_{name}_PASSWORD": f"{name}-not-a-secret" for name in PASSWORDS},
    )

    decision = approval.decide(services, policy, request, None)
    assert decision is not None
    assert (decision.event, decision.actor) == ("rejected", "admin")
    assert decision.reason == f"the answer with number {len(told) - 1}"
    events = services.ledger.history(model)
    on_record = {event.details.get("reason") or event.reason for event in events}
    assert {f"the answer with number {number}" for number in range(len(told))} <= on_record
    assert "approver" in {event.actor for event in events if event.event == "approval_given"}
    # One was taken by Airflow; who was turned away is told what became of the answer.
    assert sorted(status for _, status, _ in told) == [200] + [409] * (len(told) - 1)
    assert all("on record" in text for _, status, text in told if status == 409)
