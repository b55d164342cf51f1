"""The canary period: a version is the candidate for a while before anybody may approve it.

Its terms are recorded with the gate report, and counted from the ledger when somebody answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from podium.ledger import history
from podium.ledger.events import Event
from podium.ledger.live_answers import LiveStore, VersionOnTrial
from podium.model_file.gates import Canary, CanaryGate, Gate, LiveBound
from podium.model_file.metric_gate import Certainty, Level
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
        services: The ledger, which holds the live answers and the counts.
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
    said = []
    for term in terms:
        if term.live is not None:
            said.append(_live_problem(services, term.live, events, version, since))
        elif term.days is not None:
            said.append(_days_problem(term.days, version, since, at))
        else:
            said.append(_rows_problem(services, term.shadow_rows or 0, events, version, since))
    return [problem for problem in said if problem]


def _terms(events: Sequence[Event], version: int) -> list[Canary]:
    report = history.gate_report(events, version)
    return [] if report is None else [_term(term) for term in report.details.get(TERMS, ())]


def _term(recorded: Mapping[str, Any]) -> Canary:
    """Read a term; an earlier Podium bootstrapped live rows, and recorded how."""
    live = recorded.get("live")
    if live is None:
        return Canary(**recorded)
    rule = {key: value for key, value in live.get("not_worse", {}).items() if key in Certainty.model_fields}
    return Canary(live=LiveBound(**{**live, "not_worse": rule}))


def wants_rows(services: Services, events: Sequence[Event], trial: VersionOnTrial, since: Event) -> bool:
    """Whether the canary period of a candidate waits for more rows that it scores beside the champion.

    Args:
        services: The ledger, which holds the counts.
        events: The model's history.
        trial: The champion and the candidate.
        since: The event by which the version became the candidate.

    Raises:
        Outage: The ledger did not answer.
    """
    most = max((term.shadow_rows or 0 for term in _terms(events, trial.candidate)), default=0)
    return most > 0 and most > _scored(services, events, trial, since)


def _scored(services: Services, events: Sequence[Event], trial: VersionOnTrial, since: Event) -> int:
    counted = LiveStore(services.ledger).counted_rows(since.model, trial, since.seq)
    return counted + history.shadow_rows(events, trial.candidate, since)


def _days_problem(days: float, version: int, since: Event, at: datetime) -> str:
    over = since.at + timedelta(days=days)
    if at >= over:
        return ""
    return (
        f"{version_name(version)} is the candidate since {in_utc(since.at)}; its canary period of "
        f"{days:g} days ends on {in_utc(over)}, approve it then"
    )


def _rows_problem(
    services: Services, wanted: int, events: Sequence[Event], version: int, since: Event
) -> str:
    champion = history.champion(events)
    if champion is None:
        return ""
    rows = _scored(services, events, VersionOnTrial(champion, version), since)
    if rows >= wanted:
        return ""
    return (
        f"{version_name(version)} has scored {rows:,} of {wanted:,} rows beside the champion since "
        f"{in_utc(since.at)}; approve it when they are complete"
    )


def _live_problem(
    services: Services, bound: LiveBound, events: Sequence[Event], version: int, since: Event
) -> str:
    # Only here: it loads the libraries of the metrics.
    from podium.gates.live_comparison import Subject, live_problem

    champion, report = history.champion(events), history.gate_report(events, version)
    if champion is None or report is None:
        return ""
    labels = tuple(report.details.get(LABELS, ()))
    subject = Subject(report.model, KNOWN_METRICS[bound.metric].task, labels)
    return live_problem(
        LiveStore(services.ledger), subject, VersionOnTrial(champion, version), bound, since.at
    )
