"""Nominate: a version that passed its gates becomes the candidate, and older requests are closed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypedDict

from podium.errors import NotFound, NothingToDo, Refused
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.lifecycle.approval import describe_decision, find_decision, supersede, waiting
from podium.lifecycle.custody_rules import use_problem
from podium.lifecycle.data_age import describe_as_of, is_older, older_than_champion
from podium.lifecycle.profile_rules import promotion_problem
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import record, witnessed
from podium.names import version_name
from podium.services import Services

log = logging.getLogger(__name__)

# In the details of a refused nomination: the version on newer data that waits for a decision.
WAITS = "waits"


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
        Refused: The gates said no, the version is of a profile, or one that was trained on newer data waits
            for a decision.
        NothingToDo: The version is the champion already.
        Outage: A part did not answer.
    """
    with services.ledger.lock(model):
        witnessed(services, model)
        report = _newest_report(services.ledger.of_run(model, run), run)
        number, champion = int(report.version or 0), report.from_version
        events = services.ledger.present(model, number, champion)
        if champion == number:
            raise NothingToDo(f"{model} {version_name(number)} is the champion already: nothing to promote")
        if report.event is EventKind.GATES_REFUSED:
            raise Refused(report.details["sentence"])
        _refuse_unfit(services, events, report)
        superseded: list[Event] = []
        older = older_than_champion(events, number, champion)
        if find_decision(services, run) is None:
            _refuse_older_data(services, report)
            nominated = record(
                services,
                NewEvent(
                    event=EventKind.NOMINATED,
                    model=model,
                    version=number,
                    from_version=champion,
                    reason="; ".join(filter(None, (report.reason, older))),
                    run=run,
                    key=f"nominated:{run}",
                ),
            )
            superseded = supersede(services, nominated)
        mirror(services, model)
    log.info("%s %s is the candidate.", model, version_name(number))
    return Nomination(
        model=model, version=number, champion=champion, superseded=[str(event.run) for event in superseded]
    )


def refuse_decided_run(services: Services, run: str) -> None:
    """Let a run that was turned down end, when its tasks are run again.

    Raises:
        Refused: The run was rejected, expired, superseded or voided.
    """
    decision = find_decision(services, run)
    if decision is not None and decision.event is not EventKind.APPROVED:
        raise Refused(f"{describe_decision(decision)}. To ask again, start another run")


def _refuse_unfit(services: Services, events: Sequence[Event], report: Event) -> None:
    """Let a run of a profile, or of a version in quarantine, end after its gates, on record."""
    number = int(report.version or 0)
    if problem := promotion_problem(events, number) or use_problem(events, number):
        _refuse(services, report, problem, {})


def _refuse_older_data(services: Services, report: Event) -> None:
    """Keep a version from taking the place of one that was trained on newer data and waits for a decision."""
    model, number, run = report.model, int(report.version or 0), str(report.run)
    if services.ledger.find(f"nominated:{run}") is not None:
        return
    newer = waiting(services, services.ledger.present(model), but_for=run)
    if newer is None:
        return
    events = services.ledger.present(model, number, newer.version)
    if is_older(events, number, newer.version):
        name, waits = version_name(number), version_name(newer.version)
        problem = (
            f"{model} {name}{describe_as_of(events, number)}, was trained on older data than {waits}"
            f"{describe_as_of(events, newer.version)}, which waits for a decision and keeps its place. To "
            f"ask for {name} anyway, reject {waits} first, then start a run with version {number}"
        )
        _refuse(services, report, problem, {WAITS: newer.version})


def _refuse(services: Services, report: Event, problem: str, details: Mapping[str, Any]) -> NoReturn:
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
            details=details,
        ),
    )
    raise Refused(problem)


def _newest_report(events: Sequence[Event], run: str) -> Event:
    found = [event for event in events if event.event in history.GATES and event.run == run]
    if not found:
        raise NotFound(f"the ledger holds no gate report of run {run}: clear its task 'validate'")
    return found[-1]
