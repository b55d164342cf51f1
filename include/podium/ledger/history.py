"""The present as a fold over the ledger's events: who is champion, who was, where each alias must point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from podium.errors import PodiumError
from podium.ledger.events import CHAMPION_MOVES, ENTERED, Event, EventKind
from podium.model_file.profiles import Profile
from podium.names import Alias

_Kind = TypeVar("_Kind")

DECISIONS = (
    EventKind.APPROVED,
    EventKind.REJECTED,
    EventKind.EXPIRED,
    EventKind.SUPERSEDED,
    EventKind.VOIDED,
)
# Gate reports, and what the version's tag says of each.
GATES = {EventKind.GATES_PASSED: "passed", EventKind.GATES_REFUSED: "failed"}
# Under this name the registration in the ledger holds the profile; a full run's has none.
PROFILE = "profile"
# Under this name a request for a decision, and all answers to it, hold the number of the verdict on a watch
# window that proposes a rollback; other requests are about a promotion.
VERDICT = "watch_verdict"
# Under this name a request to remove old versions, and all answers to it, hold how many they are.
REMOVAL = "removal"
# With the version that it watches: who rolls back by itself, as it is on record.
WATCH_ACTOR = "watch window of "
_STARTED = (EventKind.PROMOTION_STARTED, EventKind.ROLLBACK_STARTED)
_REFUSED = (EventKind.PROMOTION_REFUSED, EventKind.ROLLBACK_REFUSED)
_SETTLED = (
    EventKind.OUTSIDE_MOVE_REVERTED,
    EventKind.OUTSIDE_MOVE_ACCEPTED,
    EventKind.CHAMPION_ADOPTED,
)
_WITH_MANIFEST = (*ENTERED, EventKind.OUTSIDE_MOVE_ACCEPTED)
# Under this name an event holds an example of a version that has none, or no answer to it, in its files.
EXAMPLE, NO_EXAMPLE = "example", "no_example"
# What retention does with a version; the newest of these says where its files are.
CUSTODY = (
    EventKind.QUARANTINED,
    EventKind.RESTORED,
    EventKind.DELETION_STARTED,
    EventKind.DELETION_FAILED,
    EventKind.DELETED,
)
# Under this name the record of a check after a deletion holds what it found changed.
DAMAGES = "damages"


class Present(list[Event]):
    """Events of a model of which the folds here say the same of the present as of its whole history.

    Attributes:
        versions: Those of which all events are there; a fold that is about another one raises LookupError.
        moves_since: The number of the first event from which on all moves of the champion are there.
    """

    def __init__(self, events: Iterable[Event], versions: Iterable[int], newest_moves: int) -> None:
        super().__init__(events)
        self.versions = frozenset(versions)
        moves = [event.seq for event in self if event.event in CHAMPION_MOVES]
        self.moves_since = moves[-newest_moves] if len(moves) >= newest_moves else 0


def champion_move(events: Iterable[Event]) -> Event | None:
    """Return the event that made the current champion champion, or None."""
    moves = [event for event in events if event.event in CHAMPION_MOVES]
    return moves[-1] if moves else None


def champion(events: Iterable[Event]) -> int | None:
    """Return the version that is champion, or None."""
    move = champion_move(events)
    return None if move is None else move.version


def champions(events: Iterable[Event]) -> set[int]:
    """Return the versions that are or were champion; of ``Present`` the newest ones."""
    moves = [event for event in events if event.event in CHAMPION_MOVES]
    made = {move.version for move in moves if move.version is not None}
    return made | {before for move in moves if (before := _adopted_before(move)) is not None}


def former_champions(events: Iterable[Event]) -> list[int]:
    """Return the versions that were champion, newest first, without the present one, each once.

    A version that was rolled away from is no way back, unless it was promoted again later. Of ``Present``
    these are the newest ones.
    """
    stack: list[int] = []
    current: int | None = None
    since = events.moves_since if isinstance(events, Present) else 0
    for event in events:
        if event.seq < since:
            continue
        if event.event not in CHAMPION_MOVES:
            continue
        if (before := _adopted_before(event)) is not None:
            stack = [*(version for version in stack if version != before), before]
        current = event.version
        if event.event is EventKind.ROLLED_BACK and event.from_version in stack:
            stack.remove(event.from_version)
        if current in stack:
            stack.remove(current)
        if current is not None:
            stack.append(current)
    return [version for version in reversed(stack) if version != current]


def was_champion(events: Sequence[Event], version: int) -> bool:
    """Whether a version is a former champion, however long ago: one that can be gone back to."""
    away = rolled_away(events, version)
    return away is None and version in champions(events) and version != champion(events)


def rolled_away(events: Iterable[Event], version: int) -> Event | None:
    """Return the rollback by which a version was rolled away from, or None; it was not champion since."""
    _refuse_unknown(events, version)
    away: Event | None = None
    for event in events:
        if event.event is EventKind.ROLLED_BACK and event.from_version == version:
            away = event
        if event.event in CHAMPION_MOVES and version in (event.version, _adopted_before(event)):
            away = None
    return away


def candidate(events: Iterable[Event]) -> int | None:
    """Return the newest nominated version that nobody has turned down and that is not champion."""
    versions = [version for _, version in _candidates(events)]
    return versions[-1] if versions else None


def candidate_since(events: Iterable[Event], version: int) -> Event | None:
    """Return the event by which a version became the candidate that it still is, or None."""
    since: Event | None = None
    for event, now in _candidates(events):
        if now != version:
            since = None
        elif since is None:
            since = event
    return since


def shadow_rows(events: Iterable[Event], version: int, since: Event) -> int:
    """Return how many rows a version has scored beside the champion after an event, by events.

    An earlier Podium recorded them so; now they are in a table: ``LiveStore.counted_rows``.
    """
    _refuse_unknown(events, version)
    return sum(
        _detail(event, "rows", int)
        for event in events
        if event.event is EventKind.SHADOW_SCORED and event.version == version and event.seq > since.seq
    )


def gate_report(events: Iterable[Event], version: int) -> Event | None:
    """Return the newest gate report of a version, or None."""
    _refuse_unknown(events, version)
    reports = [event for event in events if event.event in GATES and event.version == version]
    return reports[-1] if reports else None


def _candidates(events: Iterable[Event]) -> Iterator[tuple[Event, int | None]]:
    """Yield each event with the candidate that there is after it."""
    nominated: Event | None = None
    current: int | None = None
    for event in events:
        if event.event is EventKind.NOMINATED:
            nominated = event
        elif event.event in CHAMPION_MOVES:
            current = event.version
        elif event.event in DECISIONS and event.event is not EventKind.APPROVED:
            nominated = None if nominated is None or event.run == nominated.run else nominated
        if nominated is not None and nominated.version == current:
            nominated = None
        yield event, None if nominated is None else nominated.version


def newest_of_profiles(events: Iterable[Event]) -> dict[Profile, int]:
    """Return the version of each profile that was registered or judged last."""
    newest: dict[Profile, int] = {}
    for event in events:
        judged = event.event is EventKind.REGISTERED or event.event in GATES
        if judged and (profile := _profile_in(event)):
            newest[profile] = int(event.version or 0)
    return newest


def aliases(events: Sequence[Event]) -> dict[Alias, int]:
    """Return where each alias must point; an alias that must not be there is left out."""
    former = former_champions(events)
    pointers = {
        Alias.CHAMPION: champion(events),
        Alias.CANDIDATE: candidate(events),
        Alias.PREVIOUS_CHAMPION: former[0] if former else None,
        **{Alias(profile): version for profile, version in newest_of_profiles(events).items()},
    }
    return {alias: version for alias, version in pointers.items() if version is not None}


def lifecycle_stage(events: Sequence[Event], version: int) -> str:
    """Return what people who think in stages call a version: Production, Staging, Archived or None."""
    if champion(events) == version:
        return "Production"
    if candidate(events) == version:
        return "Staging"
    _refuse_unknown(events, version)
    moves = [event for event in events if event.event in CHAMPION_MOVES]
    return "Archived" if any(version in (move.version, move.from_version) for move in moves) else "None"


def unfinished_move(events: Iterable[Event]) -> Event | None:
    """Return the promotion or rollback that was begun and neither recorded nor refused since, or None."""
    begun: Event | None = None
    for event in events:
        if event.event in _STARTED:
            begun = event
        elif event.event in CHAMPION_MOVES or (event.event in _REFUSED and begun and event.run == begun.run):
            begun = None
    return begun


def stopped_move(events: Sequence[Event], live: int | None) -> Event | None:
    """Return the promotion or rollback that moved the alias and was stopped before it recorded that, or None.

    Args:
        events: The model's history.
        live: The live champion.
    """
    begun = unfinished_move(events)
    return begun if begun is not None and live == begun.version != champion(events) else None


def outside_move(events: Iterable[Event]) -> Event | None:
    """Return the move of the champion outside Podium that nobody has settled yet, or None."""
    found: Event | None = None
    for event in events:
        if event.event is EventKind.MOVED_OUTSIDE:
            found = event
        elif event.event in _SETTLED:
            found = None
    return found


def watch_freeze(events: Iterable[Event]) -> Event | None:
    """Return the event that froze the model after a watch window, or None.

    It is a verdict, or that a bad version is not rolled back.

    An approver settles it; so does a rollback that a person asks for.
    """
    found: Event | None = None
    for event in events:
        by_a_person = event.event is EventKind.ROLLED_BACK and not event.actor.startswith(WATCH_ACTOR)
        if event.event is EventKind.WATCH_FROZE or (
            event.event is EventKind.WATCH_JUDGED and event.details.get("freezes")
        ):
            found = event
        elif event.event is EventKind.WATCH_SETTLED or by_a_person:
            found = None
    return found


def custody(events: Iterable[Event], version: int) -> Event | None:
    """Return what retention did last with a version, one of ``CUSTODY``, or None."""
    _refuse_unknown(events, version)
    found = [event for event in events if event.event in CUSTODY and event.version == version]
    return found[-1] if found else None


def hold(events: Iterable[Event], version: int) -> Event | None:
    """Return the hold on a version that nobody has released, or None."""
    _refuse_unknown(events, version)
    found: Event | None = None
    for event in events:
        if event.version == version and event.event is EventKind.HELD:
            found = event
        elif event.version == version and event.event is EventKind.HOLD_RELEASED:
            found = None
    return found


def retirement(events: Iterable[Event]) -> Event | None:
    """Return the event by which a model was ended, or None; somebody may have undone it."""
    found: Event | None = None
    for event in events:
        if event.event is EventKind.RETIRED:
            found = event
        elif event.event is EventKind.RETIREMENT_UNDONE:
            found = None
    return found


def damage(events: Iterable[Event]) -> Event | None:
    """Return the newest check after a deletion if it found files changed that had to stay, or None."""
    checks = [event for event in events if event.event is EventKind.RETENTION_CHECKED]
    return checks[-1] if checks and checks[-1].details.get(DAMAGES) else None


def registration(events: Iterable[Event], version: int) -> Event | None:
    """Return the event that holds a version's manifest and signature, or None."""
    _refuse_unknown(events, version)
    for event in events:
        known = event.event in _WITH_MANIFEST
        if known and event.version == version and "manifest" in event.details:
            return event
    return None


def example_of(events: Iterable[Event], version: int) -> Mapping[str, Any] | None:
    """Return the newest example of a version on record (``podium.registry.example``); None if it needs none.

    The files of a version that Podium trained hold its own.
    """
    _refuse_unknown(events, version)
    found = [event for event in events if event.version == version and EXAMPLE in event.details]
    return found[-1].details[EXAMPLE] if found else None


def is_foreign(events: Iterable[Event]) -> bool:
    """Whether Podium never set an alias of a model: no version was nominated, and none was champion by it."""
    return not any(event.event in (EventKind.NOMINATED, *CHAMPION_MOVES) for event in events)


def with_key(events: Iterable[Event], key: str) -> Event | None:
    """Return the event with this key, or None."""
    return next((event for event in events if event.key == key), None)


def profile_of(events: Iterable[Event], version: int) -> Profile | None:
    """Return the profile that a version was trained in, by its registration; None for a full one."""
    registered = registration(events, version)
    return None if registered is None else _profile_in(registered)


def _adopted_before(move: Event) -> int | None:
    """Return the former champion that was taken over with a champion; None: there was none."""
    return move.from_version if move.event is EventKind.CHAMPION_ADOPTED else None


def _refuse_unknown(events: Iterable[Event], version: int) -> None:
    if isinstance(events, Present) and version not in events.versions:
        raise LookupError(f"nobody asked the ledger for the events of version {version}")


def _profile_in(registered: Event) -> Profile | None:
    return _detail(registered, PROFILE, Profile) if registered.details.get(PROFILE) is not None else None


def _detail(event: Event, name: str, kind: Callable[[Any], _Kind]) -> _Kind:
    try:
        return kind(event.details[name])
    except (KeyError, TypeError, ValueError) as error:
        raise PodiumError(
            f"{event.model}: '{name}' of event {event.seq} of the ledger, {event.event}, is not what Podium "
            f"records: {error}"
        ) from error
