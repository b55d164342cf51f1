"""The canary period: a version is the candidate for a while before anybody may approve it.

Its terms are recorded with the gate report, and counted from the ledger when somebody answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.model_file.gates import Canary, CanaryGate, Gate, LiveBound
from podium.model_file.metric_gate import Level
from podium.model_file.metric_names import KNOWN_METRICS
from podium.names import in_utc, version_name
from podium.services import Services

# Where the terms, and the labels by which to judge them, are in the record of a gate report.
TERMS, LABELS = "canary", "labels"


def required_terms(gates: Iterable[Gate]) -> list[dict[str, Any]]:
    """Return the terms of the required canary gates, as they are recorded."""
    return [
        gate.canary.model_dump(exclude_none=True)
        for gate in gates
        if isinstance(gate, CanaryGate) and gate.level is Level.REQUIRED
    ]


def problems(services: Services, events: Sequence[Event], version: int, at: datetime) -> list[str]:
    """Say what is missing of a version's canary period; empty if it is over.

    Where there is no champion yet, there is nothing to be beside, and only the days count.

    Args:
        services: The ledger, which holds the live answers.
        events: The model's history.
        version: The version.
        at: The moment that counts.

    Raises:
        Outage: The ledger did not answer.
    """
    terms, since = _terms(events, version), history.candidate_since(events, version)
    if terms and since is None:
        return [f"{version_name(version)} is not the candidate, so its canary period does not run"]
    if since is None:
        return []
    said = [
        _live_problem(services, term.live, events, version, since)
        if term.live
        else _missing(term, events, version, since, at)
        for term in terms
    ]
    return [problem for problem in said if problem]


def _terms(events: Sequence[Event], version: int) -> list[Canary]:
    report = history.gate_report(events, version)
    return [] if report is None else [Canary(**term) for term in report.details.get(TERMS, ())]


def wants_rows(events: Sequence[Event], version: int) -> bool:
    """Whether the canary period of a version waits for more rows that it scores beside the champion."""
    since = history.candidate_since(events, version)
    if since is None:
        return False
    scored = history.shadow_rows(events, version, since)
    return any((term.shadow_rows or 0) > scored for term in _terms(events, version))


def record_shadow_rows(services: Services, model: str, version: int, rows: int, key: str) -> Event:
    """Record that a version has scored rows beside the champion, for the canary period.

    Args:
        services: The registry and the ledger.
        model: The registered model.
        version: The candidate.
        rows: How many, at least one.
        key: Names this count: recorded again it counts once.

    Raises:
        ValueError: Less than one row.
    """
    if rows < 1:
        raise ValueError(f"{rows} rows: at least one")
    return services.ledger.append(
        NewEvent(
            event=EventKind.SHADOW_SCORED,
            model=model,
            version=version,
            reason=f"{rows:,} rows scored beside the champion",
            key=f"shadow_scored:{model}:{key}",
            details={"rows": rows},
        )
    )


def _missing(term: Canary, events: Sequence[Event], version: int, since: Event, at: datetime) -> str:
    if term.days is not None:
        over = since.at + timedelta(days=term.days)
        if at >= over:
            return ""
        return (
            f"{version_name(version)} is the candidate since {in_utc(since.at)}; its canary period of "
            f"{term.days:g} days ends on {in_utc(over)}, approve it then"
        )
    rows = history.shadow_rows(events, version, since)
    if rows >= (term.shadow_rows or 0) or history.champion(events) is None:
        return ""
    return (
        f"{version_name(version)} has scored {rows:,} of {term.shadow_rows:,} rows beside the champion since "
        f"{in_utc(since.at)}; approve it when they are there"
    )


def _live_problem(
    services: Services, bound: LiveBound, events: Sequence[Event], version: int, since: Event
) -> str:
    # Only here: it loads the libraries of the metrics.
    from podium.gates.live_comparison import Subject, live_problem
    from podium.ledger.live_answers import LiveStore, VersionOnTrial

    champion, report = history.champion(events), history.gate_report(events, version)
    if champion is None or report is None:
        return ""
    labels = tuple(report.details.get(LABELS, ()))
    subject = Subject(report.model, KNOWN_METRICS[bound.metric].task, labels)
    return live_problem(
        LiveStore(services.ledger), subject, VersionOnTrial(champion, version), bound, since.at
    )
