"""The ledger's chain: each event holds the hash of the one before it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from podium.errors import PodiumError
from podium.ledger.events import FIRST_PREVIOUS_HASH, Event, event_hash


@dataclass(frozen=True)
class Chain:
    """The end of a chain that was walked from its beginning.

    Attributes:
        events: How many there are.
        head: The hash of the last one.
        difference: What is wrong, at the first event where something is; None if the chain is whole.
    """

    events: int
    head: str
    difference: str | None


def walk(events: Iterable[Event], heads: Iterable[tuple[str, int, str]] = ()) -> Chain:
    """Walk the chain from its beginning.

    Args:
        events: All events in order.
        heads: Model, sequence number and hash of events that the registry was told of and that must be there.
    """
    expected = {seq: (model, digest) for model, seq, digest in heads}
    previous, last, count = FIRST_PREVIOUS_HASH, None, 0
    for event in events:
        if wrong := _wrong(event, previous, last):
            return Chain(count, previous, wrong)
        model, digest = expected.pop(event.seq, ("", event.hash))
        if digest != event.hash:
            wrong = f"event {event.seq} is not the one that the registry was told of for {model}"
            return Chain(count, previous, wrong)
        previous, last, count = event.hash, event, count + 1
    if expected:
        seq, (model, _) = min(expected.items())
        wrong = f"event {seq}, which the registry was told of for {model}, is not in the ledger"
        return Chain(count, previous, wrong)
    return Chain(count, previous, None)


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


def _wrong(event: Event, previous: str, last: Event | None) -> str | None:
    if event.hash != event_hash(event.as_json()):
        return f"event {event.seq} was changed: its hash is not that of its content"
    if event.previous_hash != previous:
        before = "the beginning" if last is None else f"event {last.seq}"
        return f"event {event.seq} does not follow {before}: something between them was removed or changed"
    if last is not None and event.at < last.at:
        return f"event {event.seq} is dated before event {last.seq}"
    return None
