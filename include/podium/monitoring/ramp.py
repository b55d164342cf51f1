"""Raise the share of an approved version as long as the evidence is not bad: each step is an event.

The share is raised in one place alone, under the model's lock, and by one step. Whatever is missing, cannot
be read or has changed leaves it where it is, or takes it back to 0.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from podium.errors import DecisionVoid, FrozenByWatch, Outage, PodiumError
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.store import Ledger
from podium.lifecycle import approval
from podium.lifecycle.custody_rules import refuse_out_of_use, refuse_retired
from podium.lifecycle.ramped import OVER, RAMP_KINDS, Ramp, end_key, open_ramp, ramp_of
from podium.lifecycle.watched import Terms
from podium.lifecycle.witness import record
from podium.monitoring.watch_record import Standing, content_of, digests, standing
from podium.monitoring.watching import BOTH, Ending
from podium.names import in_utc, version_name
from podium.services import Services

log = logging.getLogger(__name__)


def begin_ramp(services: Services, model: str, run: str, terms: Terms, steps: Sequence[int]) -> Event | None:
    """Record the first step of what a run's decision approved; a ramp of another run ends.

    Args:
        services: The registry and the ledger.
        model: The registered model.
        run: The lifecycle run.
        terms: How each step is judged.
        steps: The shares, in percent, ascending.

    Returns:
        The step; on a re-run the first one. None where there is no champion to be beside.

    Raises:
        NotApproved: There is no decision of this run on record.
        Refused: The decision was no approval.
        DecisionVoid: The approval is too old, or what it was about has changed.
        FrozenByWatch: A watch window ended badly, and nobody has settled that.
        OutOfUse: The version is in quarantine, or retention deleted it.
        Retired: The model was ended.
        Outage: A part did not answer; run it again.
    """
    decision = approval.find_approval(services, model, run)
    if decision.from_version is None or decision.version is None:
        return None
    ledger = services.ledger
    with ledger.lock(model):
        if found := ledger.find(_first_key(run)):
            return found
        name = f"{model} {version_name(decision.version)}"
        until = datetime.fromisoformat(decision.details["valid_until"])
        if ledger.now() > until:
            raise DecisionVoid(
                f"{name}: the approval by {decision.actor} was valid until {in_utc(until)}, and bounds the "
                "first step of the ramp. Nothing was moved. Run the lifecycle again."
            )
        events = ledger.present(model, decision.version, decision.from_version, run=run)
        _refuse_unfit(services, events, decision)
        _end_other(services, events, run, name)
        first = NewEvent(
            EventKind.RAMP_STEP,
            model,
            decision.version,
            from_version=decision.from_version,
            reason=f"{steps[0]}% of the clients: approved by {decision.actor}",
            run=run,
            key=_first_key(run),
            details={
                "ramp": None,
                "opened": None,
                "share": steps[0],
                "steps": list(steps),
                "counted": 0,
                "stopped": False,
                "terms": terms.as_json(),
            },
        )
        return record(services, first)


def step_ramp(services: Services, model: str, run: str) -> Event | None:
    """Record what follows from what was counted: a step up, a stop or the end; safe to repeat.

    Returns:
        The end of the run's ramp if there is one, else None: it goes on, or waits where it stopped.

    Raises:
        Outage: A part did not answer; run it again.
    """
    while (done := _step_once(services, model, run)) is not None:
        if done.event is EventKind.RAMP_ENDED:
            return done
    return None


def ramp_is_due(services: Services, model: str, run: str) -> bool:
    """Whether ``step_ramp`` would record something, or the ramp has ended; changes nothing.

    Raises:
        Outage: The ledger did not answer.
    """
    ledger = services.ledger
    if ledger.find(end_key(run)) is not None:
        return True
    return _next(services, ledger.present(model, run=run), run) is not None


def end_unfinished(services: Services, model: str, run: str) -> Event | None:
    """Take the share of a run back to 0 that ends without a promotion, whatever ended it.

    Returns:
        The end; None where there is no ramp of this run that servers follow.

    Raises:
        Outage: A part did not answer; run it again.
    """
    with services.ledger.lock(model):
        ramp = current_ramp(services.ledger, model)
        if ramp is None or ramp.run != run:
            return None
        why = "its run ended without a promotion"
        ended = services.ledger.find(end_key(run))
        key = end_key(run) if ended is None else f"{end_key(run)}:not-promoted"
        return record(services, replace(_over(ramp, why), key=key))


def current_ramp(ledger: Ledger, model: str) -> Ramp | None:
    """Return the ramp that servers follow; None where there is none.

    Raises:
        Outage: The ledger did not answer.
        PodiumError: Its record is not what Podium records.
    """
    return open_ramp(ledger.newest([model], RAMP_KINDS)[model])


def ramp_standing(ledger: Ledger, model: str) -> tuple[Standing, Ramp] | None:
    """Return how the step of a model's ramp stands, with the ramp; None where there is none.

    Raises:
        Outage: The ledger did not answer.
        PodiumError: Its record is not what Podium records.
    """
    ramp = current_ramp(ledger, model)
    return None if ramp is None else (standing(ledger, ramp.judged), ramp)


def _step_once(services: Services, model: str, run: str) -> Event | None:
    ledger = services.ledger
    with ledger.lock(model):
        if ended := ledger.find(end_key(run)):
            return ended
        found = _next(services, ledger.present(model, run=run), run)
        if found is None:
            return None
        new, looked = found
        if looked is not None:
            window = looked.window
            evidence = Evidence.of(model, window.new, content_of(looked, digests(ledger, window)))
            EvidenceStore(ledger).keep([evidence])
            new = replace(new, details={**new.details, "digest": evidence.digest})
        event = record(services, new)
        log.info("%s %s: %s", model, version_name(event.version), event.reason)
        return event


def _next(services: Services, events: Sequence[Event], run: str) -> tuple[NewEvent, Standing | None] | None:
    """Return what is to be recorded, with the evidence that it follows from; None: nothing."""
    steps = [event for event in events if event.event is EventKind.RAMP_STEP and event.run == run]
    if not steps:
        raise PodiumError(f"the ledger holds no ramp of run {run}: clear its task 'ramp'")
    own, now = ramp_of(steps[-1]), open_ramp(events)
    if now is None or now.run != run:
        return _over(own, _what_else(events, own)), None
    if changed := _changed(services, now):
        return _over(now, changed), None
    looked = standing(services.ledger, now.judged)
    new = judge_step(now, looked)
    return None if new is None else (new, looked)


def judge_step(ramp: Ramp, looked: Standing) -> NewEvent | None:
    """Return what follows from the evidence: a step up, a stop or the end; None: the ramp waits.

    Args:
        ramp: The ramp, which is not over.
        looked: How ``ramp.judged`` stands.
    """
    verdict, at = looked.verdict, looked.seen.at
    # Also where both fail besides: to answer nobody is safe then too.
    worse = [one.reason for one in verdict.questions if one.answered and one.name != BOTH]
    if worse and verdict.ending is not None:
        return _end(ramp, verdict.ending, 0, f"back to 0%, {Ending.BAD}: {worse[0]}")
    if ramp.stopped:
        nobody = f"it stopped at {ramp.share}%, and nobody decided until {in_utc(ramp.closes)}"
        return _over(ramp, nobody) if at >= ramp.closes else None
    if verdict.ending is None:
        return None
    said = f"{verdict.ending}: {verdict.reason}"
    if at >= ramp.closes and verdict.ending is Ending.GOOD:
        return _stop(ramp, looked, f"its time was over at {in_utc(ramp.closes)}")
    if verdict.ending is not Ending.GOOD:
        return _stop(ramp, looked, said)
    if ramp.next_share is None:
        return _end(ramp, verdict.ending, ramp.share, said)
    return _step(ramp, looked, ramp.next_share, f"{ramp.next_share}% of the clients, {said}")


def _step(ramp: Ramp, looked: Standing, share: int, reason: str) -> NewEvent:
    return _new_step(ramp, looked, share, reason, stopped=False, key=_step_key(ramp.run, share))


def _stop(ramp: Ramp, looked: Standing, reason: str) -> NewEvent:
    return _new_step(ramp, looked, ramp.share, reason, stopped=True, key=f"ramp_stopped:{ramp.run}")


def _new_step(  # noqa: PLR0913 - what differs between a step up and a stop
    ramp: Ramp, looked: Standing, share: int, reason: str, *, stopped: bool, key: str
) -> NewEvent:
    details: dict[str, Any] = {
        **_about(ramp),
        "opened": ramp.window.opened.astimezone(UTC).isoformat(),
        "share": share,
        "steps": list(ramp.steps),
        "counted": ramp.counted if stopped else looked.seen.counts.rows,
        "stopped": stopped,
        "terms": ramp.window.terms.as_json(),
        "said": str(looked.verdict.ending),
    }
    return replace(_new(ramp, EventKind.RAMP_STEP, reason), key=key, details=details)


def _end(ramp: Ramp, said: str, share: int, reason: str) -> NewEvent:
    new = _new(ramp, EventKind.RAMP_ENDED, reason)
    return replace(new, key=end_key(ramp.run), details={**_about(ramp), "share": share, "said": str(said)})


def _over(ramp: Ramp, why: str) -> NewEvent:
    """Return the end of a ramp without a verdict."""
    return _end(ramp, OVER, 0, f"back to 0%: {why}")


def _new(ramp: Ramp, kind: EventKind, reason: str) -> NewEvent:
    window = ramp.window
    return NewEvent(
        kind,
        window.model,
        window.new,
        from_version=window.old,
        actor=f"ramp of {version_name(window.new)}",
        reason=reason,
        run=ramp.run,
    )


def _about(ramp: Ramp) -> dict[str, Any]:
    return {"ramp": ramp.window.promotion}


def _first_key(run: str) -> str:
    return f"ramp_step:{run}:first"


def _step_key(run: str, share: int) -> str:
    return f"ramp_step:{run}:{share}"


def _end_other(services: Services, events: Sequence[Event], run: str, name: str) -> None:
    """End the ramp of another run on record: of two, the newest end would hide the other's."""
    steps = [event for event in events if event.event is EventKind.RAMP_STEP and event.run != run]
    if steps and services.ledger.find(end_key(str(steps[-1].run))) is None:
        record(services, _over(ramp_of(steps[-1]), f"{name} was approved"))


def _what_else(events: Sequence[Event], ramp: Ramp) -> str:
    champion = history.champion(events)
    return f"the champion was {version_name(ramp.window.old)} and is {version_name(champion)} now"


def _changed(services: Services, ramp: Ramp) -> str:
    """Say why a ramp may not go on, whatever was counted; "" if it may."""
    window = ramp.window
    events = services.ledger.present(window.model, window.new, window.old, run=ramp.run)
    try:
        _refuse_unfit(services, events, approval.find_approval(services, window.model, ramp.run))
    except Outage:
        raise
    except PodiumError as error:
        return str(error)
    return ""


def _refuse_unfit(services: Services, events: Sequence[Event], decision: Event) -> None:
    """Refuse where the approval does not hold any more, for reasons that time and evidence do not change."""
    model, run = decision.model, str(decision.run)
    request = approval.find_request(services, run)
    if changed := approval.changes_since(request, events, history.champion(events)):
        raise DecisionVoid(
            f"{model} {version_name(decision.version)}: the approval by {decision.actor} is void, since "
            f"{'; '.join(changed)}"
        )
    if frozen := history.watch_freeze(events):
        raise FrozenByWatch(model, frozen.reason, in_utc(frozen.at))
    refuse_retired(events)
    refuse_out_of_use(events, request.candidate)
