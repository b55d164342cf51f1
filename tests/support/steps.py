"""The steps of a lifecycle, as the Dags call them, for tests that need no Airflow."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from podium.ledger.events import Event, EventKind, NewEvent
from podium.lifecycle import approval, rollback, validate
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle import promote as promote_module
from podium.lifecycle import register as register_module
from podium.lifecycle.approval_policy import Answer, Person
from podium.model_file.spec import ModelSpec
from podium.services import Parts
from podium.training.run import TrainedRun, train_model

FIRST = datetime(2025, 6, 1, tzinfo=UTC)
SECOND = datetime(2025, 7, 1, tzinfo=UTC)


def new_run() -> str:
    return f"lifecycle_toy/{uuid.uuid4()}"


def train(parts: Parts, spec: ModelSpec, as_of: datetime = FIRST, **overrides: Any) -> TrainedRun:
    return train_model(spec, parts.settings, as_of, overrides, new_run())


TRAINED: dict[datetime, TrainedRun] = {}


def register(parts: Parts, spec: ModelSpec, as_of: datetime, run: str) -> int:
    return register_module.register_version(parts.registry, parts.ledger, spec, TRAINED[as_of].run_id, run)


def nominate(parts: Parts, spec: ModelSpec, as_of: datetime, run: str) -> nominate_module.Nomination:
    version = register(parts, spec, as_of, run)
    validate.validate_version(parts, spec, version, run)
    return nominate_module.nominate_version(parts.registry, parts.ledger, spec.name, run)


def nominate_unjudged(parts: Parts, spec: ModelSpec, as_of: datetime, run: str) -> nominate_module.Nomination:
    """The same without scoring, which takes the longest, for tests of what comes after the gates."""
    version = register(parts, spec, as_of, run)
    pass_gates(parts, spec, version, run)
    return nominate_module.nominate_version(parts.registry, parts.ledger, spec.name, run)


def pass_gates(parts: Parts, spec: ModelSpec, version: int, run: str) -> None:
    parts.ledger.append(
        NewEvent(
            event=EventKind.GATES_PASSED,
            model=spec.name,
            version=version,
            from_version=parts.registry.champion(spec.name),
            run=run,
            details={"digest": "of a report that says nothing", "sentence": "passed"},
        )
    )


def answer(option: str = "Approve", who: str = "amy", reason: str = "it is good enough") -> Answer:
    return Answer(option, reason, Person(who), datetime.now(UTC))


def decide(parts: Parts, spec: ModelSpec, run: str, option: str = "Approve") -> Event:
    request = approval.open_request(parts.ledger, spec.approval, spec.name, run)
    champion = parts.registry.champion(spec.name)
    return approval.judge(parts.ledger, spec.approval, request, answer(option), champion)


def promote(parts: Parts, spec: ModelSpec, run: str) -> Event:
    return promote_module.promote(parts.registry, parts.ledger, spec.name, run)


def live_through(parts: Parts, spec: ModelSpec, as_of: datetime) -> Event:
    """All steps, from a trained run to champion."""
    run = new_run()
    nominate(parts, spec, as_of, run)
    decide(parts, spec, run)
    return promote(parts, spec, run)


def promote_as_of(parts: Parts, spec: ModelSpec, as_of: datetime) -> Event:
    """All steps, without scoring."""
    run = new_run()
    nominate_unjudged(parts, spec, as_of, run)
    decide(parts, spec, run)
    return promote(parts, spec, run)


def roll_back(parts: Parts, spec: ModelSpec, to_version: int | None = None) -> Event:
    request = rollback.rollback_request(
        spec.name, to_version, asks=Person("olga"), reason="complaints", run=new_run()
    )
    return rollback.rollback(parts.registry, parts.ledger, request)


def kinds(parts: Parts, spec: ModelSpec) -> list[EventKind]:
    return [event.event for event in parts.ledger.history(spec.name)]
