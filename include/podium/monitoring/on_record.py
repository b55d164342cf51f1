"""What the ledger has of a version's windows: its events name the evidence that counts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from podium.errors import PodiumError
from podium.ledger.events import Event, EventKind, canonical_json
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.store import Ledger
from podium.metrics.detectors import START
from podium.metrics.reference import Reference
from podium.metrics.reference_file import read_reference, read_window
from podium.metrics.windows import Window
from podium.monitoring.evidence import read_judged, read_rules, window_content
from podium.monitoring.harm import tolerated_loss
from podium.monitoring.journal import Judged, Observation, Rules, judge_all, judge_none
from podium.monitoring.verdicts import Said, Verdict, worst_of

KINDS = (EventKind.REFERENCE_MADE, EventKind.WINDOWS_JUDGED)


@dataclass(frozen=True)
class OnRecord:
    """What is on record of one version.

    Attributes:
        reference: The digest of what its windows are held against; "" if there is none yet.
        windows: By window, the digest of its newest judgement.
    """

    reference: str
    windows: Mapping[Window, str]


@dataclass(frozen=True)
class RecordedWindow:
    """A window as it was judged last.

    Attributes:
        version: The version whose rows they were.
        window: When.
        content: What is kept of it, see ``evidence.window_content``.
        rules: How it was judged.
    """

    version: int
    window: Window
    content: Mapping[str, Any]
    rules: Rules

    @property
    def worst(self) -> Verdict:
        """The verdict that asks for most."""
        found = {
            name: Verdict(Said(verdict["said"]), verdict["reason"])
            for name, verdict in self.content["verdicts"].items()
        }
        return worst_of(found["whole"], found["moved"], found["hurts"])

    @property
    def risk(self) -> float | None:
        """The estimated mean loss; None where it is not judged."""
        harm = self.content["harm"]
        return None if harm is None else harm["risk"]

    @property
    def risk_error(self) -> float:
        """The standard error of the risk; NaN where it is not judged."""
        harm = self.content["harm"] or {"error": None}
        return math.nan if harm["error"] is None else float(harm["error"])

    @property
    def tolerated(self) -> float:
        """The mean loss that was tolerated; NaN where nobody asked."""
        if self.rules.tolerance is None:
            return math.nan
        return tolerated_loss(self.rules.metric, self.rules.at_promotion, self.rules.tolerance)

    @property
    def evidence(self) -> dict[str, float]:
        """How far the bets of each stream have come to an alarm, from 0 to 1, on a log scale.

        A stream that made no bet on this window has none.
        """
        inputs = self.content["inputs"]
        if inputs is None:
            return {}
        needed = dict(zip(self.rules.streams, self.rules.alarm_at, strict=True))
        return {
            name: float(np.clip(inputs["log_wealth"].get(name, START) / needed[name], 0.0, 1.0))
            for name in inputs["p"]
        }

    def as_json(self) -> dict[str, Any]:
        """Return it with plain JSON values."""
        return {"version": self.version, **self.content}


@dataclass(frozen=True)
class Basis:
    """What windows are judged by.

    Attributes:
        model: The registered model.
        version: The version.
        reference: What they are held against.
        rules: How they are judged.
        evidence: Of both, by the names under which windows name them.
    """

    model: str
    version: int
    reference: Reference
    rules: Rules
    evidence: Mapping[str, Evidence]

    def judged(
        self, windows: Iterable[Observation], kept: Mapping[Window, Mapping[str, Any]] | None = None
    ) -> Iterator[Judged]:
        """Yield the verdicts on windows, by time.

        Args:
            windows: The windows.
            kept: What is kept of windows that were judged before; what was judged by this basis is not judged
                again, as long as no earlier window differs.
        """
        if self.reference.unknown:
            return judge_none(self.reference.unknown, windows)
        known = {
            window: read_judged(content, self.rules.streams)
            for window, content in (kept or {}).items()
            if all(content[name] == evidence.digest for name, evidence in self.evidence.items())
        }
        subject = f"{self.model}/{self.version}"
        return judge_all(subject, self.rules, self.reference.past, windows, known)

    def content(self, judged: Judged, counts: str) -> dict[str, Any]:
        """Return a judged window as it is kept, as JSON gives it back.

        Args:
            judged: The window.
            counts: The digest of its counts.
        """
        digests = {name: evidence.digest for name, evidence in self.evidence.items()}
        found: dict[str, Any] = json.loads(
            canonical_json(window_content(judged, {**digests, "counts": counts}))
        )
        return found


def on_record(events: Iterable[Event], version: int) -> OnRecord:
    """Return what events say of a version's windows; of two judgements of a window the newer one counts."""
    reference, windows = "", dict[Window, str]()
    for event in events:
        if event.version == version and event.event is EventKind.REFERENCE_MADE:
            reference = _text(event, "digest")
        if event.version == version:
            windows |= {window: digest for window, digest, _ in judged_in(event)}
    return OnRecord(reference, windows)


def judged_in(event: Event) -> list[tuple[Window, str, str]]:
    """Return what an event names: window, digest, and what its verdict says; none of other events.

    Raises:
        PodiumError: It is not what Podium records.
    """
    if event.event is not EventKind.WINDOWS_JUDGED:
        return []
    try:
        return [
            (read_window([one["start"], one["end"]]), str(one["digest"]), str(one["said"]))
            for one in event.details["windows"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise PodiumError(
            f"{event.model}: event {event.seq} names no windows as Podium records them: {error}"
        ) from error


def read_basis(store: EvidenceStore, content: Mapping[str, Any], model: str, version: int) -> Basis:
    """Return what a window was judged by.

    Args:
        store: The evidence.
        content: Of the window.
        model: The registered model.
        version: The version.

    Raises:
        PodiumError: It is not there.
        Outage: The ledger's database did not answer.
    """
    evidence = {name: store.one(str(content[name])) for name in ("reference", "rules")}
    reference, rules = (evidence[name].read() for name in ("reference", "rules"))
    return Basis(model, version, read_reference(reference), read_rules(rules), evidence)


def contents(store: EvidenceStore, windows: Mapping[Window, str]) -> dict[Window, dict[str, Any]]:
    """Return the evidence of windows by time.

    Raises:
        PodiumError: Some is not there.
        Outage: The ledger's database did not answer.
    """
    kept = {
        digest: evidence.read()
        for digest, evidence in store.read(windows.values())
        if evidence.digest == digest
    }
    if missing := [window for window in sorted(windows) if windows[window] not in kept]:
        raise PodiumError(
            f"the evidence of {len(missing)} judged windows is not in the ledger's database as its events "
            f"name it; the first is {missing[0]}. `podium verify` says more"
        )
    return {window: kept[windows[window]] for window in sorted(windows)}


def recorded_windows(ledger: Ledger, model: str, since: datetime | None = None) -> list[RecordedWindow]:
    """Return the windows of all versions of a model, by version and time.

    Args:
        ledger: The record.
        model: The registered model.
        since: Only those that begin then or later.

    Raises:
        PodiumError: Some evidence is not there.
        Outage: The ledger did not answer.
    """
    events, store = ledger.history(model, kinds=KINDS), EvidenceStore(ledger)
    found = []
    for version in sorted({int(event.version or 0) for event in events}):
        windows = on_record(events, version).windows
        chosen = {one: digest for one, digest in windows.items() if since is None or one.start >= since}
        kept = contents(store, chosen)
        rules = {digest: read_rules(store.one(digest).read()) for digest in _named(kept, "rules")}
        found += [
            RecordedWindow(version, window, content, rules[str(content["rules"])])
            for window, content in kept.items()
        ]
    return found


def newest_window(ledger: Ledger, events: Sequence[Event]) -> RecordedWindow | None:
    """Return the newest window of the version that was judged last; None if none was.

    Args:
        ledger: The record.
        events: Those of one model.

    Raises:
        PodiumError: Its evidence is not there.
        Outage: The ledger did not answer.
    """
    judged = [event for event in events if event.event is EventKind.WINDOWS_JUDGED]
    if not judged:
        return None
    version, store = int(judged[-1].version or 0), EvidenceStore(ledger)
    windows = on_record(judged, version).windows
    newest = max(windows)
    (content,) = contents(store, {newest: windows[newest]}).values()
    rules = read_rules(store.one(str(content["rules"])).read())
    return RecordedWindow(version, newest, content, rules)


def _named(kept: Mapping[Window, Mapping[str, Any]], name: str) -> set[str]:
    """Return the digests that windows name."""
    return {str(content[name]) for content in kept.values()}


def _text(event: Event, name: str) -> str:
    if not isinstance(event.details.get(name), str):
        raise PodiumError(f"{event.model}: event {event.seq} has no '{name}'")
    return str(event.details[name])
