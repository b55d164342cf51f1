"""A rollback that a watch window proposes: people decide it as they decide a promotion, and then it is done.

What is asked about comes from the verdict on record alone. The Airflow run that asks is named after it, so
that a verdict is asked about once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from podium.errors import CannotRollBack, NothingToDo, PodiumError
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import VERDICT
from podium.ledger.store import Ledger
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Act, Request
from podium.lifecycle.asked import Asked
from podium.lifecycle.proposals import event_about, refuse_late, run_about
from podium.lifecycle.rollback import rollback
from podium.lifecycle.witness import record
from podium.model_file.approval import ApprovalSpec
from podium.model_file.loading import load_specs
from podium.monitoring.watching import Ending
from podium.names import version_name
from podium.services import Services

# The Dag that asks, and how its runs are named.
DAG = "propose_rollback"
_WHAT = "verdict"
# Of so many requests of a model one may be about a rollback.
_NEWEST = 5


def run_of(verdict: Event) -> str:
    """Name the run that asks about a verdict."""
    return run_about(DAG, _WHAT, verdict)


def owed_proposals(services: Services, models: Sequence[str]) -> list[Event]:
    """Return the verdicts that people are to be asked about and are not yet.

    A model without a model file has nobody who could decide.

    Raises:
        Outage: The ledger did not answer.
    """
    newest = services.ledger.newest(models, [EventKind.WATCH_JUDGED])
    verdicts = [found[-1] for found in newest.values() if found]
    owed = [verdict for verdict in verdicts if _is_owed(services.ledger, verdict)]
    # Read only then: this is asked every few seconds.
    specs = load_specs(services.settings.models_dir)[0] if owed else {}
    return [verdict for verdict in owed if verdict.model in specs]


def verdict_of(ledger: Ledger, run: str) -> Event:
    """Return the verdict that a run asks about.

    Raises:
        PodiumError: The run is named after no verdict that proposes a rollback.
        Outage: The ledger did not answer.
    """
    event = event_about(ledger, DAG, _WHAT, run)
    if event is None or not _proposes(event):
        raise PodiumError(
            f"{run} is named after no verdict that proposes a rollback: watch_champion starts these runs"
        )
    return event


def propose(services: Services, policy: ApprovalSpec, run: str) -> Request:
    """Record that a run asks whether to roll back; its first request stays as it is.

    Args:
        services: The registry and the ledger.
        policy: The model file's approval section.
        run: The Airflow run.

    Raises:
        NothingToDo: The champion was moved since the verdict.
        NotFound: The ledger holds no manifest of the version to go back to.
        PodiumError: The run is named after no such verdict.
        Outage: A part did not answer.
    """
    ledger = services.ledger
    if found := ledger.find(approval.request_key(run)):
        return approval.request_of(found)
    verdict = verdict_of(ledger, run)
    model, new, old = verdict.model, verdict.version, verdict.from_version
    if old is None:
        raise PodiumError(f"{model}: event {verdict.seq} of the ledger names no version to go back to")
    with ledger.lock(model):
        events = ledger.present(model, old)
        if (now := history.champion(events)) != new:
            raise NothingToDo(
                f"{model}: the champion is {version_name(now)} now, so nobody is asked about "
                f"{version_name(new)}"
            )
        asked = NewEvent(
            EventKind.APPROVAL_REQUESTED,
            model,
            old,
            from_version=new,
            run=run,
            details={
                "manifest": approval.manifest_digest(events, old),
                "gates": verdict.details["digest"],
                VERDICT: verdict.seq,
                "why": verdict.reason,
            },
        )
        return approval.ask(services, policy, asked)


def roll_back_approved(services: Services, run: str) -> Event:
    """Roll back as people have approved, by the same steps as for a person's: proof first, compare and swap.

    Where the version to go back to fails its proof the model is frozen: neither of the two is good.

    Returns:
        The ``rolled_back`` event; on a re-run, the first one.

    Raises:
        NotApproved: There is no decision of this run on record.
        Refused: The decision was no approval.
        DecisionVoid: The approval is too old.
        CannotRollBack: The version to go back to fails its proof; the model is frozen.
        ChampionChanged: The champion was moved since the verdict.
        Outage: A part did not answer; run it again.
    """
    verdict = verdict_of(services.ledger, run)
    decision = approval.find_approval(services, verdict.model, run)
    said = f"the watch window of {version_name(verdict.version)} said {verdict.reason}"
    request = NewEvent(
        EventKind.ROLLBACK_STARTED,
        verdict.model,
        verdict.from_version,
        actor=decision.actor,
        reason=f"{decision.reason}; {said}",
        run=run,
        details={"decision": decision.seq, VERDICT: verdict.seq},
    )
    refuse_late(
        services.ledger,
        decision,
        [EventKind.ROLLBACK_STARTED],
        "nothing was moved. Run `podium rollback`",
    )
    with frozen_if_refused(services, verdict):
        return roll_back_as_judged(services, request, verdict)


def roll_back_as_judged(services: Services, request: NewEvent, verdict: Event) -> Event:
    """Roll back the champion that a verdict is about: a later move of anybody comes first."""
    return rollback(services, request, Asked(verdict.at, verdict.at))


@contextmanager
def frozen_if_refused(services: Services, verdict: Event) -> Iterator[None]:
    """Freeze the model where the rollback that follows from a verdict is refused; raises as before."""
    try:
        yield
    except CannotRollBack as error:
        _freeze(services, verdict, error)
        raise


def _freeze(services: Services, verdict: Event, error: PodiumError) -> None:
    """Record that a bad version is not rolled back: none is promoted until an approver has looked at both."""
    new, old = version_name(verdict.version), version_name(verdict.from_version)
    record(
        services,
        NewEvent(
            EventKind.WATCH_FROZE,
            verdict.model,
            verdict.version,
            from_version=verdict.from_version,
            actor=verdict.actor,
            reason=f"{new} is {verdict.reason}; it is not rolled back to {old}: {error}",
            run=verdict.run,
            key=f"watch_froze:{verdict.seq}",
            details={VERDICT: verdict.seq, "promotion": verdict.details["promotion"]},
        ),
    )


def void_overtaken(services: Services, request: Request, champion: int | None) -> Event:
    """Close a proposal whose champion was moved since, by whomever; returns how it was closed."""
    return approval.void(services, request, f"the champion is {version_name(champion)} now")


def overtaken(ledger: Ledger, models: Sequence[str]) -> list[tuple[Request, int | None]]:
    """Return the open proposals whose champion was moved since, each with the champion of now.

    Raises:
        Outage: The ledger did not answer.
    """
    found = []
    for model, asked in ledger.newest(models, [EventKind.APPROVAL_REQUESTED], each=_NEWEST).items():
        if not any(VERDICT in event.details for event in asked):
            continue
        events = ledger.present(model)
        champion = history.champion(events)
        found += [
            (request, champion)
            for request in approval.readable_requests(events)
            if request.act is Act.ROLLBACK and request.champion != champion
        ]
    return found


def _is_owed(ledger: Ledger, verdict: Event) -> bool:
    if not _proposes(verdict) or history.champion(ledger.present(verdict.model)) != verdict.version:
        return False
    return ledger.find(approval.request_key(run_of(verdict))) is None


def _proposes(event: Event) -> bool:
    if event.event is not EventKind.WATCH_JUDGED:
        return False
    return event.details.get("said") == Ending.BAD and event.details.get("auto_rollback") == "propose"
