"""Champions that are moved outside Podium, and what tests ask about them."""

from __future__ import annotations

from datetime import datetime

from podium.ledger.events import Event
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.asked import Asked
from podium.lifecycle.reconcile import reconcile_all
from podium.lifecycle.settle import Settlement, settle, settle_request
from podium.model_file.spec import ModelSpec
from podium.services import Services
from support.mlflow_client import raw
from support.steps import FIRST, TRAINED, asked_now, decide, kinds, new_run, nominate_unjudged


def look(services: Services, spec: ModelSpec) -> Event | None:
    """As reconcile does; raises what went wrong."""
    found, errors = reconcile_all(services, [spec])
    if errors:
        raise errors[0]
    return found[0] if found else None


def move_by_hand(services: Services, spec: ModelSpec, to_version: int | None) -> None:
    """As somebody would in MLflow's UI."""
    if to_version is None:
        raw(services.registry).delete_registered_model_alias(spec.name, "champion")
    else:
        raw(services.registry).set_registered_model_alias(spec.name, "champion", str(to_version))


def ask(
    services: Services,
    spec: ModelSpec,
    settlement: Settlement,
    who: str = "amy",
    reason: str = "it was meant to be so",
    run: str | None = None,
    asked: Asked | None = None,
) -> Event:
    request = settle_request(spec, settlement, asks=Person(who), reason=reason, run=run or new_run())
    return settle(services, spec, request, asked or asked_now())


def since_promotion(services: Services, spec: ModelSpec) -> list[str]:
    """What stands in the history after the second promotion."""
    return [str(kind) for kind in kinds(services, spec)[4:]]


def assert_settled(services: Services, spec: ModelSpec) -> None:
    """Looking again finds nothing, and the ledger and the registry agree."""
    events = len(kinds(services, spec))
    assert look(services, spec) is None
    assert len(kinds(services, spec)) == events


def make_by_hand(services: Services, spec: ModelSpec, as_of: datetime) -> int:
    """A version that Podium never registered, from a model that it trained."""
    trained = TRAINED[as_of]
    made = raw(services.registry).create_model_version(
        spec.name, f"models:/{trained.model_id}", run_id=trained.run_id, model_id=trained.model_id
    )
    return int(made.version)


def approved(services: Services, spec: ModelSpec, as_of: datetime = FIRST) -> str:
    run = new_run()
    nominate_unjudged(services, spec, as_of, run)
    decide(services, spec, run)
    return run
