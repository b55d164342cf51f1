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
from podium.lifecycle.approval_policy import Request
from podium.model_file.spec import ModelSpec
from podium.stack.layout import Layout
from support.database import as_superuser
from support.services import services_with
from support.toy import TOY

APPROVERS = ["Approver", "admin"]
PASSWORDS = ("VIEWER", "OPERATOR", "APPROVER", "ADMIN", "LOOKUP")


@pytest.fixture(scope="module")
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


Told = tuple[Asked, Request, list[Any]]


@pytest.fixture(scope="module")
def seen(
    run_script: Callable[..., Any],
    ledger_url: str,
    airflow_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[int, Told], dict[str, Any]]:
    """Who was asked, by how many are required, what those who answered were told, and all that was seen."""
    folder = tmp_path_factory.mktemp("asked")
    asked = [Asked(folder, ledger_url, required) for required in (1, 2)]
    requests = [approval.open_request(one.services, one.policy, one.model, one.run) for one in asked]
    place = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow_database}
    runs = " ".join(one.run for one in asked)
    found = run_script("answers_at_once.py", **{**asked[0].environment, **place, "ASKED": runs})
    told = zip(asked, requests, found["told"], strict=True)
    return {one.policy.required: (one, *more) for one, *more in told}, found


@pytest.fixture(scope="module")
def answered(seen: tuple[dict[int, Told], dict[str, Any]]) -> dict[int, Told]:
    return seen[0]


def test_the_wait_of_a_closed_request_ends_and_its_run_has_a_note(
    seen: tuple[dict[int, Told], dict[str, Any]],
) -> None:
    # Its timeout is now, for which the scheduler looks; nothing else of the run is touched.
    assert seen[1]["ended"] == [["awaiting_input", True, "v1: rejected by admin"]] * 2
    assert seen[1]["unknown"] is None


def test_an_answer_at_the_moment_of_parking_is_not_forgotten(
    seen: tuple[dict[int, Told], dict[str, Any]],
) -> None:
    """Airflow says yes and leaves the task parked; the scheduler resumes it by its timeout."""
    assert seen[1]["parked"] == [200, "awaiting_input", True]


@pytest.mark.parametrize("required", [1, 2])
def test_each_is_on_record_and_the_rejection_wins(answered: dict[int, Told], required: int) -> None:
    asked, request, told = answered[required]
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


@pytest.fixture(scope="module")
def sensors(
    run_script: Callable[..., Any], ledger_url: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Asked, Asked, dict[str, Any]]:
    """A run that was overtaken, one that was answered by nobody, and what their sensors did."""
    folder = tmp_path_factory.mktemp("sensors")
    overtaken, answered = (Asked(folder, ledger_url, required=1) for _ in range(2))
    client = MlflowClient(overtaken.environment["MLFLOW_TRACKING_URI"])
    for one in (overtaken, answered):
        client.create_registered_model(one.model)
        client.create_model_version(one.model, source=str(folder))
    overtaken.record(EventKind.NOMINATED, run="lifecycle/newer")
    approval.open_request(answered.services, answered.policy, answered.model, answered.run)
    both = {
        name: f"{overtaken.environment[name]} {answered.environment[name]}" for name in ("ASKED", "MODEL")
    }
    return overtaken, answered, run_script("approval_sensors.py", **{**overtaken.environment, **both})


def test_a_run_that_is_overtaken_before_anybody_was_asked_puts_up_no_card(
    sensors: tuple[Asked, Asked, dict[str, Any]],
) -> None:
    asked, _, found = sensors
    assert found["parked"] == [False, True]
    decision = approval.find_decision(asked.services, asked.run)
    assert decision is not None
    assert (decision.event, decision.run) == ("superseded", asked.run)
    assert decision.reason == "v1 of run lifecycle/newer is a newer candidate"


def test_after_an_answer_that_does_not_count_the_log_names_model_and_version(
    sensors: tuple[Asked, Asked, dict[str, Any]],
) -> None:
    _, asked, found = sensors
    question = f"Promote {asked.model} v1 to champion, the first champion?"
    assert found["asked"] == [question]
    refused, parked = found["logged"][-2:]
    assert refused.startswith(f"{asked.model} v1: unknown gave an answer that does not count: ")
    assert parked.startswith(f"{question} Answer under required actions of this task until ")
