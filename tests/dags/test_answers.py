"""Answers at the same moment, through Airflow's own API server on Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
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


class Asked:
    """A model whose run has a version nominated.

    Attributes:
        model: Its name; its file is in the folder of the test.
        run: The run, as ``dag_id/run_id``.
        policy: The model file's approval section.
        services: The ledger.
        environment: Of Airflow's programs.
    """

    def __init__(self, folder: Path, ledger_url: str, required: int) -> None:
        self.model = f"asked-{uuid.uuid4().hex[:8]}"
        content = {**TOY, "name": self.model, "approval": {"approvers": APPROVERS, "required": required}}
        (folder / f"{self.model}.yaml").write_text(yaml.safe_dump(content))
        self.policy = ModelSpec.model_validate(content).approval
        self.services = services_with(Ledger(ledger_url))
        self.run = f"lifecycle_{self.model.replace('-', '_')}/r1"
        self.environment = {
            "ASKED": self.run,
            "MODEL": self.model,
            "AIRFLOW__CORE__AUTH_MANAGER": "podium_airflow.auth_manager.PodiumFabAuthManager",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "PODIUM_LEDGER_URL": ledger_url,
            "PODIUM_MODELS_DIR": str(folder),
            **{f"PODIUM_{name}_PASSWORD": f"{name}-not-a-secret" for name in PASSWORDS},
        }
        self.record(EventKind.REGISTERED, details={"manifest": [], "manifest_digest": "m"})
        self.record(EventKind.GATES_PASSED, run=self.run, details={"digest": "g"})
        self.record(EventKind.NOMINATED, run=self.run, key=f"nominated:{self.run}")

    def record(self, kind: EventKind, **more: Any) -> None:
        self.services.ledger.append(NewEvent(kind, self.model, 1, **more))


@pytest.mark.parametrize("required", [1, 2])
def test_each_is_on_record_and_the_rejection_wins(
    run_script: Callable[..., Any], ledger_url: str, airflow_database: str, tmp_path: Path, required: int
) -> None:
    asked = Asked(tmp_path, ledger_url, required)
    request = approval.open_request(asked.services, asked.policy, asked.model, asked.run)
    place = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow_database}
    told = run_script("answers_at_once.py", **asked.environment, **place)

    decision = approval.decide(asked.services, asked.policy, request, None)
    assert decision is not None
    assert (decision.event, decision.actor) == ("rejected", "admin")
    assert decision.reason == f"the answer with number {len(told) - 1}"
    events = asked.services.ledger.history(asked.model)
    on_record = {event.details.get("reason") or event.reason for event in events}
    assert {f"the answer with number {number}" for number in range(len(told))} <= on_record
    # Airflow takes one; who is turned away, or came too late, is told what became of the answer.
    assert sorted(status for _, status, _ in told)[1:] == [409] * (len(told) - 1)
    assert all("on record" in text for _, status, text in told if status == 409)
    assert any("changes nothing" in text for _, _, text in told)


def test_a_run_that_is_overtaken_before_anybody_was_asked_puts_up_no_card(
    run_script: Callable[..., Any], ledger_url: str, tmp_path: Path
) -> None:
    asked = Asked(tmp_path, ledger_url, required=1)
    client = MlflowClient(asked.environment["MLFLOW_TRACKING_URI"])
    client.create_registered_model(asked.model)
    client.create_model_version(asked.model, source=str(tmp_path))
    asked.record(EventKind.NOMINATED, run="lifecycle/newer")
    closed = run_script("overtaken.py", **asked.environment)
    assert (closed["event"], closed["run"]) == ("superseded", asked.run)
    assert closed["reason"] == "v1 of run lifecycle/newer is a newer candidate"
