"""Move the champion alias, forward and back: compared and swapped, on the record, safe to re-run.

Both moves hold the model's ledger lock and go the same way: write the intent with the way back, move the
alias, read it back, write the result, mirror it to aliases and tags. A move that was killed half-way is
finished by running it again, since its intent is on record.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from podium import approval
from podium.errors import (
    CannotRollBack,
    ChampionChanged,
    NotApproved,
    NothingToDo,
    Outage,
    PodiumError,
    Refused,
    version_name,
)
from podium.ledger import Event, EventKind, Ledger, NewEvent, champion_move, former_champions
from podium.registry import Alias, Registry, Tag

log = logging.getLogger(__name__)


def promote(registry: Registry, ledger: Ledger, run: str) -> Event:
    """Make the version that a run's decision approved the champion.

    Args:
        registry: The model registry.
        ledger: The ledger; its recorded decision is what counts, not the state of any task.
        run: The Airflow run, as ``dag_id/run_id``.

    Returns:
        The ``promoted`` event; on a re-run, the first one.

    Raises:
        NotApproved: There is no decision of this run on record.
        Refused: The decision was no approval.
        NothingToDo: The version is the champion already, or this run made it so and it was moved since.
        ChampionChanged: The champion is not the one that the approver saw; nothing was moved.
        Outage: A part did not answer; run it again.
    """
    decision = approval.find_decision(ledger, run)
    if decision is None:
        raise NotApproved(
            f"the ledger holds no decision of run {run}: nobody has approved. Marking a task as success "
            "approves nothing. Clear the approval task, and decide in Airflow's required actions."
        )
    approval.mirror_decision(registry, ledger, decision)
    if decision.event is not EventKind.APPROVED:
        raise Refused(f"{approval.decision_in_words(decision)}; nothing is promoted")
    intent = NewEvent(
        event=EventKind.PROMOTION_STARTED,
        model=decision.model,
        version=decision.version,
        from_version=decision.from_version,
        actor=decision.actor,
        reason=decision.reason,
        run=run,
        key=f"promotion_started:{run}",
        details={"decision": decision.seq},
    )
    with ledger.lock(decision.model):
        return _move(registry, ledger, intent, EventKind.PROMOTED)


def rollback(registry: Registry, ledger: Ledger, request: NewEvent) -> Event:
    """Move the champion alias back to a version that was champion, after proof that it loads and predicts.

    Args:
        registry: The model registry.
        ledger: The ledger.
        request: Who asks and why, from ``rollback_request``.

    Returns:
        The ``rolled_back`` event; on a re-run, the first one.

    Raises:
        CannotRollBack: There is no earlier champion, the target never was champion, or it fails its proof.
        ChampionChanged: The champion was moved by hand; nothing was moved.
        NothingToDo: This run did it, and the champion was moved since.
        Outage: A part did not answer; run it again.
    """
    with ledger.lock(request.model):
        intent = ledger.find(str(request.key))
        if intent is not None:
            started = replace(request, version=intent.version, from_version=intent.from_version)
            return _move(registry, ledger, started, EventKind.ROLLED_BACK)
        try:
            chosen = _choose_target(ledger, request)
            prove(registry, chosen.model, _number(chosen))
        except CannotRollBack as error:
            _record_refusal(ledger, request, EventKind.ROLLBACK_REFUSED, error)
            raise
        return _move(registry, ledger, chosen, EventKind.ROLLED_BACK)


def rollback_request(
    model: str, to_version: int | None, *, actor: str | None, reason: str, run: str
) -> NewEvent:
    """Describe a rollback that somebody asks for.

    Args:
        model: The registered model.
        to_version: A former champion, or None for the previous one.
        actor: Who asks, as Airflow's login or the operating system says.
        reason: Why, in words.
        run: The Airflow run; the same run never rolls back twice.

    Raises:
        CannotRollBack: The reason is empty, or nobody is known to ask.
    """
    if not actor:
        raise CannotRollBack(f"{model}: who asks is not known; trigger the rollback logged in to Airflow")
    if not reason.strip():
        raise CannotRollBack(f"{model}: a rollback needs a reason")
    return NewEvent(
        event=EventKind.ROLLBACK_STARTED,
        model=model,
        version=to_version,
        actor=actor,
        reason=reason.strip(),
        run=run,
        key=f"rollback_started:{run}",
    )


def prove(registry: Registry, model: str, number: int) -> None:
    """Load a version and predict its stored input example.

    Raises:
        CannotRollBack: It does not load, has no input example, or does not predict it.
        Outage: The registry or the store did not answer.
    """
    name = f"{model} {version_name(number)}"
    try:
        loaded = registry.load(model, number)
        example = loaded.input_example
        if example is None:
            raise CannotRollBack(f"{name} has no input example to prove itself with")
        loaded.predict(example)
    except (Outage, CannotRollBack):
        raise
    except FileNotFoundError as error:
        raise CannotRollBack(f"{name} does not load: a file of it is missing: {error}") from error
    except OSError as error:
        raise Outage(f"{name} could not be loaded here: {error}") from error
    except Exception as error:
        raise CannotRollBack(f"{name} does not load and predict: {error}") from error
    log.info("%s loads and predicts its input example of %s rows.", name, len(example))


def _choose_target(ledger: Ledger, request: NewEvent) -> NewEvent:
    events = ledger.history(request.model)
    current = champion_move(events)
    former = former_champions(events)
    _refuse_rolled_away(request, events, former)
    if current is None or not former:
        raise CannotRollBack(
            f"{request.model}: no earlier champion to go back to; the champion is "
            f"{version_name(current.version if current else None)}"
        )
    target = former[0] if request.version is None else request.version
    if target not in former:
        allowed = ", ".join(map(version_name, former))
        raise CannotRollBack(
            f"{request.model}: {version_name(target)} is no earlier champion; there are: {allowed}"
        )
    return replace(request, version=target, from_version=current.version)


def _refuse_rolled_away(request: NewEvent, events: Sequence[Event], former: Sequence[int]) -> None:
    """Say so where somebody asks for a version that was itself rolled back."""
    away = [
        event
        for event in events
        if event.event is EventKind.ROLLED_BACK and event.from_version == request.version
    ]
    if request.version is not None and request.version not in former and away:
        raise CannotRollBack(
            f"{request.model}: {version_name(request.version)} was itself rolled back on "
            f"{away[-1].at:%Y-%m-%d %H:%M} UTC by {away[-1].actor}: {away[-1].reason}. It can become "
            "champion again by a new approval: run the lifecycle for it."
        )


def _move(registry: Registry, ledger: Ledger, intent: NewEvent, result: EventKind) -> Event:
    """Compare, record the intent, swap, read back, record the result. The caller holds the lock."""
    model, target = intent.model, _number(intent)
    done = ledger.find(f"{result}:{intent.run}")
    if done is None:
        live = registry.champion(model)
        begun = ledger.find(str(intent.key)) is not None
        if not (begun and live == target):
            _compare(ledger, intent, live)
        ledger.append(intent)
        registry.set_alias(model, Alias.CHAMPION, target)
        found = registry.champion(model)
        if found != target:
            raise Outage(
                f"{model}: champion was set to {version_name(target)} but reads {version_name(found)}; "
                "run it again"
            )
        done = ledger.append(replace(intent, event=result, key=f"{result}:{intent.run}"))
    elif champion_move(ledger.history(model)) != done:
        raise NothingToDo(
            f"{model}: this run made {version_name(target)} the champion on {done.at:%Y-%m-%d %H:%M} UTC; "
            "the champion was moved since, so nothing is moved again"
        )
    _mirror(registry, ledger, model)
    log.info("%s: champion %s -> %s", model, version_name(done.from_version), version_name(done.version))
    return done


def _compare(ledger: Ledger, intent: NewEvent, live: int | None) -> None:
    """Refuse unless the live champion is the one that the decision was made against."""
    refused = (
        EventKind.ROLLBACK_REFUSED
        if intent.event is EventKind.ROLLBACK_STARTED
        else EventKind.PROMOTION_REFUSED
    )
    recorded = champion_move(ledger.history(intent.model))
    if live == intent.version and recorded is not None and recorded.version == live:
        already = NothingToDo(f"{intent.model}: {version_name(live)} is the champion already")
        _record_refusal(ledger, intent, refused, already)
        raise already
    if live != intent.from_version:
        moved_by = "moved outside Podium, the ledger does not know by whom"
        if recorded is not None and recorded.version == live:
            words = recorded.event.replace("_", " ")
            moved_by = f"{words} by {recorded.actor} on {recorded.at:%Y-%m-%d %H:%M} UTC"
        changed = ChampionChanged(intent.model, intent.from_version, live, moved_by)
        _record_refusal(ledger, intent, refused, changed)
        raise changed


def _record_refusal(ledger: Ledger, intent: NewEvent, kind: EventKind, error: PodiumError) -> None:
    ledger.append(replace(intent, event=kind, reason=str(error), key=f"{kind}:{intent.run}"))


def _mirror(registry: Registry, ledger: Ledger, model: str) -> None:
    """Make aliases and stage tags say what the ledger says."""
    events = ledger.history(model)
    current = champion_move(events)
    if current is None or current.version is None:
        return
    aliases = registry.aliases(model)
    former = former_champions(events)
    if former:
        registry.set_alias(model, Alias.PREVIOUS_CHAMPION, former[0])
    elif Alias.PREVIOUS_CHAMPION in aliases:
        registry.delete_alias(model, Alias.PREVIOUS_CHAMPION)
    if aliases.get(Alias.CANDIDATE) == current.version:
        registry.delete_alias(model, Alias.CANDIDATE)
    registry.set_tags(model, current.version, {Tag.LIFECYCLE_STAGE: "Production"})
    if current.from_version is not None:
        tags: dict[str, str] = {Tag.LIFECYCLE_STAGE: "Archived"}
        if current.event is EventKind.ROLLED_BACK:
            tags[Tag.ROLLED_BACK] = f"by {current.actor}: {current.reason}"
        registry.set_tags(model, current.from_version, tags)


def _number(event: NewEvent) -> int:
    if event.version is None:
        raise PodiumError(f"{event.model}: the record of {event.run} names no version")
    return event.version
