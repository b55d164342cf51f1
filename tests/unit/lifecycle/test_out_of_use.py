"""Each door that loads, scores or moves a version, against what retention says of that version."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from podium.errors import OutOfUse, PodiumError
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle.adoption import plan_adoption
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.nominate import nominate_version
from podium.lifecycle.register import run_to_take
from podium.lifecycle.rollback import rollback, rollback_request
from podium.lifecycle.validate import replay_gates, validate_version
from podium.model_file.spec import ModelSpec
from podium.operations.copy_version import CopyTarget, copy_version
from podium.scoring.pinned_version import pin
from podium.services import Services
from podium.serving.loaded_version import ServedTarget, check_may_serve
from support.retained import add_version
from support.steps import asked_now, new_run, pass_gates

NOWHERE = CopyTarget("http://127.0.0.1:1", None, None)
RUN = "lifecycle_toy/judged before"


def rolled_back(services: Services, spec: ModelSpec, number: int) -> None:
    asks = rollback_request(spec.name, number, asks=Person("amy"), reason="back to it", run=new_run())
    rollback(services, asks, asked_now())


def served(services: Services, spec: ModelSpec, number: int) -> None:
    events = services.ledger.present(spec.name, number)
    check_may_serve(events, number, ServedTarget(spec.name, None, number))


def taken(services: Services, spec: ModelSpec, number: int) -> None:
    run_to_take(services, spec.name, {"mlflow_run": None, "version": number, "profile": None})


DOORS: dict[str, Callable[[Services, ModelSpec, int], object]] = {
    "scoring and monitoring": lambda services, spec, number: pin(services, spec.name, str(number)),
    "serving, alone or beside the champion": served,
    "copying": lambda services, spec, number: copy_version(services, spec.name, number, NOWHERE),
    "a lifecycle of it": taken,
    "validation": lambda services, spec, number: validate_version(services, spec, number, new_run()),
    "other gates": replay_gates,
    "nomination": lambda services, spec, _: nominate_version(services, spec.name, RUN),
    "rollback": rolled_back,
    "adoption": lambda services, spec, number: plan_adoption(services, spec, str(number), None),
}


@pytest.fixture
def spec(services: Services, toy_spec: ModelSpec) -> ModelSpec:
    """Two versions without a champion; the first was judged."""
    for _ in range(2):
        add_version(services, toy_spec.name)
    pass_gates(services, toy_spec, 1, RUN)
    return toy_spec


def knocked(
    services: Services, spec: ModelSpec, doors: Collection[str] = DOORS
) -> dict[str, PodiumError | None]:
    """Return what each door answers; None where it opens."""
    found: dict[str, PodiumError | None] = {}
    for name in doors:
        try:
            DOORS[name](services, spec, 1)
            found[name] = None
        except PodiumError as error:
            found[name] = error
    return found


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (EventKind.QUARANTINED, "v1 is in quarantine since "),
        (EventKind.DELETION_FAILED, "v1 is in quarantine since "),
        (EventKind.DELETION_STARTED, "v1 is being deleted since "),
        (EventKind.DELETED, "v1 was deleted on "),
    ],
)
def test_every_door_is_shut_for_what_is_out_of_use_and_says_why(
    services: Services, spec: ModelSpec, kind: EventKind, sentence: str
) -> None:
    services.ledger.append(NewEvent(kind, spec.name, 1, actor="podium retention", reason="nothing keeps it"))
    found = knocked(services, spec)
    assert {name for name, error in found.items() if sentence in str(error)} == set(DOORS)


@pytest.mark.parametrize("kind", [EventKind.HELD, EventKind.RESTORED])
def test_no_door_is_shut_for_what_is_held_or_restored(
    services: Services, spec: ModelSpec, kind: EventKind
) -> None:
    services.ledger.append(NewEvent(kind, spec.name, 1, actor="amy", reason="the court asks"))
    # Nobody listens where it would be copied to.
    found = knocked(services, spec, DOORS.keys() - {"copying"})
    assert not {name for name, error in found.items() if isinstance(error, OutOfUse)}
    assert {name for name, error in found.items() if "the court asks" in str(error)} == set()
    assert found["scoring and monitoring"] is None
