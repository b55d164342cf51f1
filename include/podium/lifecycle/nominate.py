"""Nominate: a version that passed its gates becomes the candidate, and older requests are closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from podium.errors import NotFound, NothingToDo, Refused
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.lifecycle.approval import describe_decision, find_decision, supersede
from podium.lifecycle.profile_rules import promotion_problem
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import record, witnessed
from podium.names import version_name
from podium.services import Services


class Nomination(TypedDict):
    """A candidate, the champion that it was compared with, and the runs whose requests it closed."""

    model: str
    version: int
    champion: int | None
    superseded: list[str]


def nominate_version(services: Services, model: str, run: str) -> Nomination:
    """Make the version that passed its gates in this run the candidate; close older requests.

    Args:
        services: The registry and the ledger: its gate report counts, not what a task says of it.
        model: The registered model.
        run: The Airflow run.

    Raises:
        NotFound: The ledger holds no gate report of this run.
        Refused: The gates said no.
        NothingToDo: The version is the champion already.
        Outage: A part did not answer.
    """
    with services.ledger.lock(model):
        witnessed(services, model)
        events = services.ledger.history(model)
        report = _newest_report(events, run)
        number, champion = int(report.version or 0), report.from_version
        if champion == number:
            raise NothingToDo(f"{model} {version_name(number)} is the champion already: nothing to promote")
        if report.event is EventKind.GATES_REFUSED:
            raise Refused(report.details["sentence"])
        _refuse_profiles(services, events, report)
        superseded = []
        if find_decision(services, run) is None:
            nominated = record(
                services,
                NewEvent(
                    event=EventKind.NOMINATED,
                    model=model,
                    version=number,
                    from_version=champion,
                    reason=report.reason,
                    run=run,
                    key=f"nominated:{run}",
                ),
            )
            superseded = supersede(services, [*events, nominated], number, run)
        mirror(services, model, events)
    return Nomination(model=model, version=number, champion=champion, superseded=superseded)


def refuse_decided_run(services: Services, run: str) -> None:
    """Let a run that was turned down end, when its tasks are run again.

    Raises:
        Refused: The run was rejected, expired, superseded or voided.
    """
    decision = find_decision(services, run)
    if decision is not None and decision.event is not EventKind.APPROVED:
        raise Refused(f"{describe_decision(decision)}. To ask again, start another run")


def _refuse_profiles(services: Services, events: Sequence[Event], report: Event) -> None:
    """Let a run of a profile end after its gates, on record."""
    if problem := promotion_problem(events, int(report.version or 0)):
        record(
            services,
            NewEvent(
                event=EventKind.NOMINATION_REFUSED,
                model=report.model,
                version=report.version,
                from_version=report.from_version,
                reason=problem,
                run=report.run,
                key=f"nomination_refused:{report.run}",
            ),
        )
        raise Refused(problem)


def _newest_report(events: Sequence[Event], run: str) -> Event:
    found = [event for event in events if event.event in history.GATES and event.run == run]
    if not found:
        raise NotFound(f"the ledger holds no gate report of run {run}: clear its task 'validate'")
    return found[-1]
