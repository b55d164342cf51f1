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
from podium.ledger.store import Ledger, Lock, record_refusal
from podium.lifecycle.registry_sync import mirror
from podium.names import Alias, in_utc, version_name
from podium.registry.client import Registry

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
