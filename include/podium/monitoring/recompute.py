"""Does what monitoring recorded follow from what it counted? Statistics, bets, wealth and verdicts again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from podium.errors import Outage, PodiumError
from podium.ledger.events import Event
from podium.ledger.evidence import EvidenceStore
from podium.ledger.store import Ledger
from podium.metrics.windows import Window
from podium.monitoring.evidence import difference, read_counts, read_observation
from podium.monitoring.journal import Observation, observe
from podium.monitoring.on_record import KINDS, Basis, contents, judged_in, on_record, read_basis
from podium.monitoring.verdicts import ALARMS
from podium.names import version_name


def evidence_differences(ledger: Ledger, models: Sequence[str]) -> list[str]:
    """Say of each version of each model what of its newest judgements, or of an older alarm, does not follow.

    Args:
        ledger: The ledger.
        models: The registered models.

    Raises:
        Outage: The ledger did not answer.
    """
    monitored = ledger.newest(models, KINDS)
    return [said for model in models if monitored[model] for said in _of_model(ledger, model)]


def _of_model(ledger: Ledger, model: str) -> Iterator[str]:
    events = ledger.history(model, kinds=KINDS)
    for version in sorted({int(event.version or 0) for event in events}):
        try:
            said = _of_version(EvidenceStore(ledger), events, model, version)
        except Outage:
            raise
        except (PodiumError, KeyError, TypeError, ValueError) as error:
            said = f"cannot be computed again: {error}"
        if said:
            yield f"monitoring of {model} {version_name(version)}: {said}"


def _of_version(store: EvidenceStore, events: Sequence[Event], model: str, version: int) -> str:
    """Say what differs first, seen from each event that named an alarm that counts no more, and from now."""
    if changed := _changed(store, events, version):
        return changed
    newest = set(on_record(events, version).windows.values())
    then = [
        number
        for number, event in enumerate(events[:-1])
        if event.version == version and _superseded_alarm(event, newest)
    ]
    for number in (*then, len(events) - 1):
        windows = on_record(events[: number + 1], version).windows
        if said := _not_following(store, windows, model, version):
            return said
    return ""


def _superseded_alarm(event: Event, newest: set[str]) -> bool:
    return any(said in ALARMS and digest not in newest for _, digest, said in judged_in(event))


def _changed(store: EvidenceStore, events: Sequence[Event], version: int) -> str:
    """Say which evidence is not there, or is not what its digest says."""
    named = {
        digest: window
        for event in events
        if event.version == version
        for window, digest, _ in judged_in(event)
    }
    found = {digest: evidence.digest for digest, evidence in store.read(list(named))}
    for digest, window in sorted(named.items(), key=lambda item: item[1]):
        if found.get(digest) != digest:
            what = "was changed" if digest in found else "is missing"
            return f"the evidence of the window {window} {what} ({digest[:12]})"
    return ""


def _not_following(store: EvidenceStore, windows: Mapping[Window, str], model: str, version: int) -> str:
    by_reference: dict[str, dict[Window, dict[str, Any]]] = {}
    for window, content in contents(store, windows).items():
        by_reference.setdefault(str(content["reference"]), {})[window] = content
    said = (_not_following_from(store, kept, model, version) for kept in by_reference.values())
    return next(filter(None, said), "")


def _not_following_from(
    store: EvidenceStore, kept: Mapping[Window, Mapping[str, Any]], model: str, version: int
) -> str:
    """Say what does not follow of windows that are held against one reference."""
    newest = list(kept.values())[-1]
    basis = read_basis(store, newest, model, version)
    seen = [_observed(store, basis, content) for content in kept.values()]
    for judged in basis.judged(seen):
        window = judged.observation.window
        again = basis.content(judged, str(kept[window]["counts"]))
        if said := difference(kept[window], again):
            return f"window {window}: {said}"
    return ""


def _observed(store: EvidenceStore, basis: Basis, content: Mapping[str, Any]) -> Observation:
    """Return what was seen of a window by its counts; what only rows tell is taken as it was kept."""
    kept = read_observation(content)
    counts = read_counts(store.one(str(content["counts"])).read())
    again = observe(basis.reference.columns, kept.window, counts)
    own = {name: kept.distances[name] for name in basis.reference.detectors if name in kept.distances}
    return replace(kept, distances={**again.distances, **own}, shifts={**again.shifts, **own})
