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

from podium.errors import (
    ChampionChanged,
    Frozen,
    NothingToDo,
    Outage,
    PodiumError,
)
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Lock
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import record, record_refusal, witnessed
from podium.names import Alias, in_utc, version_name
from podium.services import Services

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Move:
    """A move under the model's lock, with what the ledger and the registry say at its beginning.

    Attributes:
        services: The registry and the ledger.
        lock: The model's lock, which is held.
        intent: What is to be done, with the way back.
        result: The event that says that it is done.
        events: Where the model stands, read under the lock.
        live: The live champion.
        begun: An earlier try wrote the intent, and nothing else moved the champion since.
    """

    services: Services
    lock: Lock
    intent: NewEvent
    result: EventKind
    events: Sequence[Event]
    live: int | None
    begun: bool

    @property
    def target(self) -> int:
        """The version that is to be champion."""
        if self.intent.version is None:
            raise PodiumError(f"{self.intent.model}: the record of {self.intent.run} names no version")
        return self.intent.version

    @property
    def recorded(self) -> int | None:
        """The champion, as the ledger says."""
        return history.champion(self.events)


def begin(
    services: Services, lock: Lock, events: Sequence[Event], intent: NewEvent, result: EventKind
) -> Move:
    """Look at what there is before a move.

    Raises:
        OtherLedger: The ledger lacks what MLflow was told.
        Outage: Another run moved the alias and was stopped before it could record that.
    """
    live = witnessed(services, intent.model).aliases.get(Alias.CHAMPION)
    begun = begun_before(events, intent) is not None
    stopped = history.stopped_move(events, live)
    if stopped is not None and not begun:
        raise Outage(
            f"{intent.model}: run {stopped.run} moved the champion to {version_name(live)} and was "
            "stopped before it could record it. Its retry or reconcile finishes that; then run this again."
        )
    return Move(services, lock, intent, result, events, live, begun)


def begun_before(events: Sequence[Event], intent: NewEvent) -> Event | None:
    """Return the intent that an earlier try of this run wrote, if nothing else moved the champion since."""
    begun = history.unfinished_move(events)
    if begun is None or (begun.run, begun.event) != (intent.run, intent.event):
        return None
    return begun


def done_before(services: Services, events: Sequence[Event], result: EventKind, run: str) -> Event | None:
    """Return the result that an earlier try of this run wrote, and finish what may be missing after it.

    Raises:
        NothingToDo: The champion was moved since.
    """
    done = history.with_key(events, f"{result}:{run}")
    if done is None:
        return None
    if history.champion_move(events) != done:
        raise NothingToDo(
            f"{done.model}: this run made {version_name(done.version)} the champion on "
            f"{in_utc(done.at)}; the champion was moved since, so nothing is moved again"
        )
    mirror(services, done.model)
    return done


def describe_move(move: Event) -> str:
    """Say which move it was, by whom and when."""
    return f"{move.event.replace('_', ' ')} by {move.actor} on {in_utc(move.at)}"


def refuse_frozen(model: str, events: Sequence[Event], live: int | None) -> None:
    """Refuse where the live champion is not the recorded one, and no move of ours was stopped half-way.

    Raises:
        Frozen: The champion was moved outside Podium.
    """
    recorded = history.champion(events)
    if live != recorded and history.stopped_move(events, live) is None:
        raise Frozen(model, recorded, live)


def compare(move: Move) -> None:
    """Refuse unless the live champion is the recorded one, and the one that was compared with.

    Raises:
        Frozen: The champion was moved outside Podium.
        NothingToDo: The target is the champion already.
        ChampionChanged: The champion is not the one that was compared with.
    """
    model, expected = move.intent.model, move.intent.from_version
    refuse_frozen(model, move.events, move.live)
    if swapped_before(move):
        return
    if move.live == move.target:
        raise NothingToDo(f"{model}: {version_name(move.live)} is the champion already")
    if move.live != expected:
        newest = history.champion_move(move.events)
        moved_by = "nobody ever moved it" if newest is None else describe_move(newest)
        raise ChampionChanged(model, expected, move.live, moved_by)


def swapped_before(move: Move) -> bool:
    """An earlier try moved the alias, and was stopped before it recorded the result.

    Or somebody moved it there by hand after that try; so the bytes and the approval's time are checked again.
    """
    return move.begun and move.live == move.target


def swap(move: Move) -> Event:
    """Record the intent, move the alias, read it back, record the result.

    Raises:
        Outage: The lock was lost, a part did not answer, or the alias reads another version; run it again.
    """
    model, target, services = move.intent.model, move.target, move.services
    if not move.begun:
        record(services, move.intent)
    move.lock.assert_held()
    services.registry.set_alias(model, Alias.CHAMPION, target)
    found = services.registry.champion(model)
    if found != target:
        raise Outage(
            f"{model}: champion was set to {version_name(target)}, but MLflow returns {version_name(found)}; "
            "run it again"
        )
    done = services.ledger.append_move(
        replace(move.intent, event=move.result, key=f"{move.result}:{move.intent.run}"),
        after=history.champion_move(move.events),
    )
    mirror(services, model)
    log.info("%s: champion %s -> %s", model, version_name(done.from_version), version_name(done.version))
    return done


@contextmanager
def refusals_on_record(services: Services, intent: NewEvent) -> Iterator[None]:
    """Record why a move or a settlement was refused; an outage is no refusal."""
    try:
        yield
    except Outage:
        raise
    except PodiumError as error:
        record_refusal(services, intent, error)
        raise
