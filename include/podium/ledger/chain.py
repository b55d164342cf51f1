"""The ledger's chain: each event holds the hash of the one before it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from podium.errors import PodiumError
from podium.ledger.events import FIRST_PREVIOUS_HASH, Event, EventKind
from podium.ledger.stored import StoredEvent

_KNOWN = frozenset(map(str, EventKind))


@dataclass(frozen=True)
class Chain:
    """The end of a chain that was walked from its beginning.

    Attributes:
        events: How many there are, up to the first event where something is wrong.
        head: The hash of the last one of them.
        difference: What is wrong, at the first event where something is; None if the chain is whole.
        further: What is wrong behind that.
        unknown: Names the events of kinds that only a newer Podium knows; they belong to the chain.
    """

    events: int
    head: str
    difference: str | None
    further: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def differences(self) -> list[str]:
        """All that is wrong, in order."""
        return [*([self.difference] if self.difference else []), *self.further]


def walk(
    events: Iterable[Event] | Iterable[StoredEvent], heads: Iterable[tuple[str, int, str]] = ()
) -> Chain:
    """Walk the chain from its beginning.

    Args:
        events: All events in order.
        heads: Model, sequence number and hash of events that the registry was told of and that must be there.
    """
    expected = {seq: (model, digest) for model, seq, digest in heads}
    previous, last, wrong, unknown = FIRST_PREVIOUS_HASH, None, [], []
    whole, head = 0, FIRST_PREVIOUS_HASH
    for event in events:
        problem = _wrong(event, previous, last)
        model, digest = expected.pop(event.seq, ("", event.hash))
        if problem is None and digest != event.hash:
            problem = f"event {event.seq} is not the one that MLflow has on record for {model}"
        wrong += [problem] if problem else []
        if event.event not in _KNOWN:
            unknown.append(
                f"event {event.seq} of {event.model} has the kind '{event.event}', which this version of "
                "Podium does not know: a newer version recorded it"
            )
        previous, last = event.hash, event
        if not wrong:
            whole, head = whole + 1, event.hash
    wrong += [
        f"event {seq} is not in the ledger, although MLflow has it on record for {model}"
        for seq, (model, _) in sorted(expected.items())
    ]
    first, further = (wrong[0], tuple(wrong[1:])) if wrong else (None, ())
    return Chain(whole, head, first, further, tuple(unknown))


def write_head(event: Event) -> str:
    """Return how a registry is told of a model's newest event: its number and its hash."""
    return f"{event.seq}:{event.hash}"


def read_head(told: str | None) -> tuple[int, str] | None:
    """Return the number and the hash that ``write_head`` wrote, or None if this is no such text."""
    seq, _, digest = (told or "").partition(":")
    # Of any length, a number may take long to read; the ledger's have at most 19 digits.
    return (int(seq), digest) if seq.isascii() and seq.isdigit() and len(seq) < 20 else None


def read_export(path: Path) -> Iterator[Event]:
    """Yield the events of a file that ``podium export`` wrote.

    Raises:
        PodiumError: A line is no event; names the line.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    event = Event.from_json(json.loads(line.decode()))
                except (ValueError, RecursionError, PodiumError) as error:
                    raise PodiumError(f"{path}, line {number}: {error}") from error
                yield event
    except OSError as error:
        raise PodiumError(f"{path} cannot be read: {error}") from error


def _wrong(event: Event | StoredEvent, previous: str, last: Event | StoredEvent | None) -> str | None:
    if problem := event.problem():
        return problem
    if event.previous_hash != previous:
        before = "the beginning" if last is None else f"event {last.seq}"
        return f"event {event.seq} does not follow {before}: something between them was removed or changed"
    if last is not None and event.at < last.at:  # type: ignore[operator]  # both are of one kind
        return f"event {event.seq} is dated before event {last.seq}"
    return None
