"""Move the champion alias, forward and back: compared and swapped, on the record, safe to re-run.

Both moves hold the model's ledger lock and go the same way: compare, check the bytes, write the intent with
the way back, move the alias, read it back, write the result, mirror it to the other aliases and tags. A move
that was killed half-way is finished by running it again, since its intent is on record.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from podium.errors import (
    CannotRollBack,
    ChampionChanged,
    DecisionVoid,
    Frozen,
    NothingToDo,
    Outage,
    PodiumError,
    ProfileOnly,
    in_utc,
    version_name,
)
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Ledger, Lock, record_refusal
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Person, may_decide, who_may_decide
from podium.lifecycle.profile_rules import promotion_problem
from podium.lifecycle.registry_sync import mirror
from podium.model_file.spec import ApprovalSpec
from podium.names import Alias
from podium.proof import manifest_of, prove
from podium.registry.client import Registry
from podium.registry.manifest import check_bytes
from podium.settings import registry_is_ephemeral

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Move:
    """A move under the model's lock, with what the ledger and the registry say at its beginning.

    ``begun`` means that an earlier try wrote the intent, and nothing else moved the champion since.
    """

    registry: Registry
    ledger: Ledger
    lock: Lock
    intent: NewEvent
    result: EventKind
    events: Sequence[Event]
    live: int | None
    begun: bool

    @property
    def target(self) -> int:
        if self.intent.version is None:
            raise PodiumError(f"{self.intent.model}: the record of {self.intent.run} names no version")
        return self.intent.version

    @property
    def recorded(self) -> int | None:
        return history.champion(self.events)


def promote(registry: Registry, ledger: Ledger, model: str, run: str) -> Event:
    """Make the version that a run's decision approved the champion.

    Args:
        registry: The model registry.
        ledger: The ledger; its recorded decision is what counts, not the state of any task. It names the
            version, and the champion that the approver compared with.
        model: The registered model.
        run: The Airflow run, as ``dag_id/run_id``.

    Returns:
        The ``promoted`` event; on a re-run, the first one.

    Raises:
        NotApproved: There is no decision of this run on record.
        Refused: The decision was no approval.
        NothingToDo: The version is the champion already, or this run made it so and it was moved since.
        DecisionVoid: The decision is too old, or what it was about has changed since.
        ChampionChanged: The champion is not the one that the approver saw.
        Frozen: The champion was moved outside Podium.
        BytesChanged: The version's files are not those that were registered.
        ProfileOnly: The version was trained in a profile, and the registry is none that is thrown away.
        Outage: A part did not answer; run it again.

    What is refused has moved nothing. After an Outage the champion may have moved: run the same call again.
    """
    decision = approval.find_approval(ledger, model, run)
    intent = NewEvent(
        event=EventKind.PROMOTION_STARTED,
        model=model,
        version=decision.version,
        from_version=decision.from_version,
        actor=decision.actor,
        reason=decision.reason,
        run=run,
        details={"decision": decision.seq},
    )
    with ledger.lock(model) as lock:
        if done := ledger.find(f"{EventKind.PROMOTED}:{run}"):
            return _done_before(registry, ledger, done)
        move = _begin(registry, ledger, lock, intent, EventKind.PROMOTED)
        with _refusals_on_record(ledger, intent):
            _compare(move)
            _refuse_profile(move)
            _assert_holds(move, decision)
            check_bytes(registry, model, move.target, manifest_of(move.events, model, move.target))
        return _swap(move)


def rollback(registry: Registry, ledger: Ledger, request: NewEvent) -> Event:
    """Move the champion alias back to a version that was champion, after proof that it can serve.

    Args:
        registry: The model registry.
        ledger: The ledger.
        request: Who asks and why, from ``rollback_request``.

    Returns:
        The ``rolled_back`` event; on a re-run, the first one.

    Raises:
        CannotRollBack: There is no earlier champion, the target never was champion, or it fails its proof.
        Frozen: The champion was moved outside Podium.
        NothingToDo: The target is the champion already, or this run did it and the champion was moved since.
        Outage: A part did not answer; run it again.
    """
    with ledger.lock(request.model) as lock:
        if done := ledger.find(f"{EventKind.ROLLED_BACK}:{request.run}"):
            return _done_before(registry, ledger, done)
        with _refusals_on_record(ledger, request):
            chosen = _choose_target(ledger, request)
        move = _begin(registry, ledger, lock, chosen, EventKind.ROLLED_BACK)
        with _refusals_on_record(ledger, chosen):
            _compare(move)
            prove(registry, move.events, request.model, move.target)
        return _swap(move)


def rollback_request(
    model: str, to_version: int | None, *, asks: Person | None, reason: str, run: str
) -> NewEvent:
    """Describe a rollback that somebody asks for; ``asked_at`` and ``force_version`` add to it.

    Args:
        model: The registered model.
        to_version: A former champion, or None for the previous one.
        asks: Who asks, as Airflow's login says.
        reason: Why, in words.
        run: The Airflow run; the same run never rolls back twice.

    Raises:
        CannotRollBack: The reason is empty, or nobody is known to ask.
    """
    if asks is None:
        raise CannotRollBack(f"{model}: who asks is not known; trigger the rollback logged in to Airflow")
    if not reason.strip():
        raise CannotRollBack(f"{model}: a rollback needs a reason")
    return NewEvent(
        event=EventKind.ROLLBACK_STARTED,
        model=model,
        version=to_version,
        actor=asks.name,
        reason=reason.strip(),
        run=run,
    )


def asked_at(request: NewEvent, moment: datetime) -> NewEvent:
    """Bind a rollback to the champion at the moment when it was asked for."""
    return replace(request, details={**request.details, "asked_at": moment.isoformat()})


def force_version(request: NewEvent, policy: ApprovalSpec, asks: Person) -> NewEvent:
    """Let a rollback go to a version that never was champion; it is marked so on record.

    Raises:
        CannotRollBack: No version is named, who asks is none of the model's approvers, or approving takes
            more than one person.
    """
    if request.version is None:
        raise CannotRollBack(f"{request.model}: to force a version, name it")
    if not may_decide(policy, asks):
        raise CannotRollBack(
            f"{request.model}: only an approver may force a version that never was champion, and {asks.name} "
            f"is none (approvers: {who_may_decide(policy)})"
        )
    if policy.required > 1:
        raise CannotRollBack(
            f"{request.model}: nobody may force a version alone, since approving takes "
            f"{policy.required} people; run the lifecycle for it"
        )
    return replace(request, details={**request.details, "forced": True})


def _begin(registry: Registry, ledger: Ledger, lock: Lock, intent: NewEvent, result: EventKind) -> _Move:
    events, live = ledger.history(intent.model), registry.champion(intent.model)
    begun = _begun_before(events, intent) is not None
    stopped = history.stopped_move(events, live)
    if stopped is not None and not begun:
        raise Outage(
            f"{intent.model}: run {stopped.run} moved the champion to {version_name(live)} and was "
            "stopped before it could record it. Its retry or reconcile finishes that; then run this again."
        )
    return _Move(registry, ledger, lock, intent, result, events, live, begun)


def _begun_before(events: Sequence[Event], intent: NewEvent) -> Event | None:
    """Return the intent that an earlier try of this run wrote, if nothing else moved the champion since."""
    begun = history.unfinished_move(events)
    if begun is None or (begun.run, begun.event) != (intent.run, intent.event):
        return None
    return begun


def _done_before(registry: Registry, ledger: Ledger, done: Event) -> Event:
    """Finish what may be missing after the result was written, or say that it is history."""
    if history.champion_move(ledger.history(done.model)) != done:
        raise NothingToDo(
            f"{done.model}: this run made {version_name(done.version)} the champion on "
            f"{in_utc(done.at)}; the champion was moved since, so nothing is moved again"
        )
    mirror(registry, ledger, done.model)
    return done


def _choose_target(ledger: Ledger, request: NewEvent) -> NewEvent:
    """Name the target and the champion that it replaces; a rollback that began keeps those of its intent."""
    model, events = request.model, ledger.history(request.model)
    if begun := _begun_before(events, request):
        return replace(request, version=begun.version, from_version=begun.from_version)
    _refuse_what_was_asked_before_a_move(events, request)
    former, current = history.former_champions(events), history.champion(events)
    target = request.version if request.version is not None else next(iter(former), None)
    if target is None:
        raise CannotRollBack(
            f"{model}: no earlier champion to go back to; the champion is {version_name(current)}"
        )
    if away := history.rolled_away(events).get(target):
        raise CannotRollBack(
            f"{model}: {version_name(target)} was itself rolled back on {in_utc(away.at)} by "
            f"{away.actor}: {away.reason}. It can become champion again by a new approval: run the lifecycle "
            "for it."
        )
    registered = history.registration(events, target)
    if problem := promotion_problem(registered, ephemeral=registry_is_ephemeral()):
        raise CannotRollBack(problem)
    if target not in former and target != current and not request.details.get("forced"):
        there_are = ", ".join(map(version_name, former)) or "none"
        raise CannotRollBack(
            f"{model}: {version_name(target)} is no earlier champion; there are: {there_are}. An approver "
            "may force another version."
        )
    return replace(request, version=target, from_version=current)


def _refuse_what_was_asked_before_a_move(events: Sequence[Event], request: NewEvent) -> None:
    """Refuse a rollback whose asker saw another champion: two that are asked for at once go back once."""
    newest = history.champion_move(events)
    asked_at = request.details.get("asked_at")
    if newest is None or asked_at is None or newest.at <= datetime.fromisoformat(asked_at):
        return
    seen = history.champion([event for event in events if event.at <= datetime.fromisoformat(asked_at)])
    raise ChampionChanged(request.model, seen, newest.version, _in_words(newest))


def _in_words(move: Event) -> str:
    return f"{move.event.replace('_', ' ')} by {move.actor} on {in_utc(move.at)}"


def _compare(move: _Move) -> None:
    """Refuse unless the live champion is the recorded one, and the one that was compared with."""
    model, expected = move.intent.model, move.intent.from_version
    if _swapped_before(move):
        return
    if move.live != move.recorded:
        raise Frozen(model, move.recorded, move.live)
    if move.live == move.target:
        raise NothingToDo(f"{model}: {version_name(move.live)} is the champion already")
    if move.live != expected:
        newest = history.champion_move(move.events)
        moved_by = "nobody ever moved it" if newest is None else _in_words(newest)
        raise ChampionChanged(model, expected, move.live, moved_by)


def _assert_holds(move: _Move, decision: Event) -> None:
    """Refuse a decision that is too old, or about something that has changed since."""
    name = f"{move.intent.model} {version_name(move.target)}"
    request = approval.find_request(move.ledger, str(decision.run))
    changed = approval.changes_since(request, move.events, move.live)
    # Once the alias has moved, the champion is another one, and gates that run again compare with itself.
    if changed and not _swapped_before(move):
        raise DecisionVoid(
            f"{name}: the approval by {decision.actor} is void, since {'; '.join(changed)}. Nothing was "
            "moved. Run the lifecycle again."
        )
    valid_until = datetime.fromisoformat(decision.details["valid_until"])
    if datetime.now(UTC) > valid_until:
        raise DecisionVoid(
            f"{name}: the approval by {decision.actor} was valid until {in_utc(valid_until)}. "
            "Nothing was moved. Run the lifecycle again."
        )


def _refuse_profile(move: _Move) -> None:
    """Refuse a version of a profile, whoever approved it."""
    registered = history.registration(move.events, move.target)
    if problem := promotion_problem(registered, ephemeral=registry_is_ephemeral()):
        raise ProfileOnly(problem)


def _swapped_before(move: _Move) -> bool:
    """An earlier try moved the alias, and was stopped before it recorded the result.

    Or somebody moved it there by hand after that try; so the bytes and the approval's time are checked again.
    """
    return move.begun and move.live == move.target


def _swap(move: _Move) -> Event:
    """Record the intent, move the alias, read it back, record the result."""
    model, target = move.intent.model, move.target
    if not move.begun:
        move.ledger.append(move.intent)
    move.lock.assert_held()
    move.registry.set_alias(model, Alias.CHAMPION, target)
    found = move.registry.champion(model)
    if found != target:
        raise Outage(
            f"{model}: champion was set to {version_name(target)} but reads {version_name(found)}; "
            "run it again"
        )
    done = move.ledger.append_move(
        replace(move.intent, event=move.result, key=f"{move.result}:{move.intent.run}"),
        after=history.champion_move(move.events),
    )
    mirror(move.registry, move.ledger, model)
    log.info("%s: champion %s -> %s", model, version_name(done.from_version), version_name(done.version))
    return done


@contextmanager
def _refusals_on_record(ledger: Ledger, intent: NewEvent) -> Iterator[None]:
    """Record why a move was refused; an outage is no refusal."""
    try:
        yield
    except Outage:
        raise
    except PodiumError as error:
        record_refusal(ledger, intent, error)
        raise
