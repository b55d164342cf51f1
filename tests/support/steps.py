"""The steps of a lifecycle, as the Dags call them, for tests that need no Airflow."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.receivers import CHAMPION_ASSET
from podium.lifecycle import approval, rollback, validate
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle import promote as promote_module
from podium.lifecycle import register as register_module
from podium.lifecycle.approval_policy import Answer, Person
from podium.lifecycle.asked import Asked
from podium.lifecycle.watched import Terms
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.training.run import TrainedRun, train_model

FIRST = datetime(2025, 6, 1, tzinfo=UTC)
SECOND = datetime(2025, 7, 1, tzinfo=UTC)


def new_run() -> str:
    return f"lifecycle_toy/{uuid.uuid4()}"


def train(services: Services, spec: ModelSpec, as_of: datetime = FIRST, **overrides: Any) -> TrainedRun:
    return train_model(spec, services.settings, as_of, overrides, new_run())


TRAINED: dict[datetime, TrainedRun] = {}


def register(services: Services, spec: ModelSpec, as_of: datetime, run: str) -> int:
    return register_module.register_version(services, spec, TRAINED[as_of].run_id, run)


def nominate(services: Services, spec: ModelSpec, as_of: datetime, run: str) -> nominate_module.Nomination:
    version = register(services, spec, as_of, run)
    validate.validate_version(services, spec, version, run)
    return nominate_module.nominate_version(services, spec.name, run)


def nominate_unjudged(
    services: Services, spec: ModelSpec, as_of: datetime, run: str
) -> nominate_module.Nomination:
    """The same without scoring, which takes the longest, for tests of what comes after the gates."""
    version = register(services, spec, as_of, run)
    pass_gates(services, spec, version, run)
    return nominate_module.nominate_version(services, spec.name, run)


def pass_gates(services: Services, spec: ModelSpec, version: int, run: str) -> None:
    services.ledger.append(
        NewEvent(
            event=EventKind.GATES_PASSED,
            model=spec.name,
            version=version,
            from_version=services.registry.champion(spec.name),
            run=run,
            details={"digest": "of a report that says nothing", "sentence": "passed"},
        )
    )


def answer(option: str = "Approve", who: str = "amy", reason: str = "it is good enough") -> Answer:
    return Answer(option, reason, Person(who), datetime.now(UTC))


def decide(services: Services, spec: ModelSpec, run: str, option: str = "Approve") -> Event:
    request = approval.open_request(services, spec.approval, spec.name, run)
    champion = services.registry.champion(spec.name)
    return approval.judge(services, spec.approval, request, answer(option), champion)


def promote(services: Services, spec: ModelSpec, run: str) -> Event:
    return promote_module.promote(services, spec.name, run, Terms.of(spec))


def live_through(services: Services, spec: ModelSpec, as_of: datetime) -> Event:
    """All steps, from a trained run to champion."""
    run = new_run()
    nominate(services, spec, as_of, run)
    decide(services, spec, run)
    return promote(services, spec, run)


def promote_as_of(services: Services, spec: ModelSpec, as_of: datetime) -> Event:
    """All steps, without scoring."""
    run = new_run()
    nominate_unjudged(services, spec, as_of, run)
    decide(services, spec, run)
    return promote(services, spec, run)


def promote_past_airflow(services: Services, spec: ModelSpec, as_of: datetime) -> None:
    """Train a toy of a stack and promote it, without the gates; that is faster than its lifecycle."""
    run = new_run()
    trainable = spec.model_copy(update={"trainer": "support.toy_trainer:train"})
    trained = train_model(trainable, services.settings, as_of, {}, run)
    version = register_module.register_version(services, spec, trained.run_id, run)
    pass_gates(services, spec, version, run)
    nominate_module.nominate_version(services, spec.name, run)
    request = approval.open_request(services, spec.approval, spec.name, run)
    champion = services.registry.champion(spec.name)
    approval.judge(services, spec.approval, request, answer(who="approver"), champion)
    promoted = promote(services, spec, run)
    # No task announces it: the announcement of a later move would wait for it.
    services.ledger.move_cursor(CHAMPION_ASSET.name, spec.name, promoted.seq)


def roll_back(
    services: Services,
    spec: ModelSpec,
    to_version: int | None = None,
    asked: Asked | None = None,
    run: str | None = None,
) -> Event:
    request = rollback.rollback_request(
        spec.name, to_version, asks=Person("olga"), reason="complaints", run=run or new_run()
    )
    return rollback.rollback(services, request, asked or asked_now())


def asked_now() -> Asked:
    """As of a run that is triggered at this moment."""
    now = datetime.now(UTC)
    return Asked(now, now)


def kinds(services: Services, spec: ModelSpec) -> list[EventKind]:
    return [event.event for event in services.ledger.history(spec.name)]


def newest(services: Services, spec: ModelSpec) -> Event:
    return services.ledger.history(spec.name)[-1]
