"""The canary period, counted from what the ledger holds."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.live_answers import LiveAnswer, LiveCount, LiveStore, VersionOnTrial
from podium.ledger.store import Ledger
from podium.lifecycle import approval, canary
from podium.lifecycle.approval_policy import Answer, Person
from podium.model_file.approval import ApprovalSpec
from podium.model_file.gates import Canary, CanaryGate, RowsGate
from podium.model_file.metric_gate import Level
from support.services import services_with

POLICY = ApprovalSpec(approvers=("amy",), expires_after="20d")  # type: ignore[arg-type]
NOW = datetime.now(UTC)


@pytest.fixture
def model() -> str:
    return f"canary-{uuid.uuid4().hex[:8]}"


def nominate(ledger: Ledger, model: str, version: int, *terms: dict[str, Any]) -> str:
    run = f"lifecycle/{uuid.uuid4()}"
    for event in (
        NewEvent(EventKind.REGISTERED, model, version, details={"manifest": [], "manifest_digest": "m"}),
        NewEvent(
            EventKind.GATES_PASSED,
            model,
            version,
            run=run,
            details={"digest": "g", canary.TERMS: list(terms), canary.LABELS: ["no", "yes"]},
        ),
        NewEvent(EventKind.NOMINATED, model, version, run=run, key=f"nominated:{run}"),
    ):
        ledger.append(event)
    return run


def answered(ledger: Ledger, model: str, run: str, option: str = "Approve", after_days: float = 0) -> Event:
    request = approval.open_request(services_with(ledger), POLICY, model, run)
    at = datetime.now(UTC) + timedelta(days=after_days)
    answer = Answer(option, "it is good enough", Person("amy"), at)
    return approval.judge(services_with(ledger), POLICY, request, answer, None)


def count(ledger: Ledger, model: str, rows: int, key: str, *, champion: int = 1, candidate: int = 2) -> None:
    """Count rows as a model server does, while the version is the candidate."""
    since = history.candidate_since(ledger.history(model), candidate)
    assert since is not None
    LiveStore(ledger).add_count(LiveCount(model, key, since.seq, champion, candidate, rows))


def record_as_before(ledger: Ledger, model: str, rows: int) -> None:
    """Record rows as a model server did that still could append events."""
    ledger.append(NewEvent(EventKind.SHADOW_SCORED, model, 2, details={"rows": rows}))


def test_only_required_terms_are_held() -> None:
    gates = [
        RowsGate(min_holdout_rows=1),
        CanaryGate(canary=Canary(days=7)),
        CanaryGate(canary=Canary(shadow_rows=100), level=Level.ADVISORY),
    ]
    assert canary.required_terms(gates) == [{"days": 7.0}]


def test_an_approval_before_the_days_are_over_does_not_count_and_says_when_it_will(
    ledger: Ledger, model: str
) -> None:
    run = nominate(ledger, model, 2, {"days": 7})
    early = answered(ledger, model, run, after_days=6.9)
    assert early.event is EventKind.ANSWER_INVALID
    over = datetime.now(UTC) + timedelta(days=7)
    assert f"its canary period of 7 days ends on {over:%Y-%m-%d}" in early.reason
    assert answered(ledger, model, run, after_days=7.1).event is EventKind.APPROVED


def test_a_rejection_waits_for_nothing(ledger: Ledger, model: str) -> None:
    run = nominate(ledger, model, 2, {"days": 7})
    assert answered(ledger, model, run, "Reject").event is EventKind.REJECTED


def test_rows_scored_beside_the_champion_are_counted_once_each(ledger: Ledger, model: str) -> None:
    ledger.append(NewEvent(EventKind.PROMOTED, model, 1))
    nominate(ledger, model, 2, {"shadow_rows": 1000})
    count(ledger, model, 500, "before another version was the candidate")
    nominate(ledger, model, 3, {"shadow_rows": 1000})
    count(ledger, model, 5000, "another version", candidate=3)
    run = nominate(ledger, model, 2, {"shadow_rows": 1000})
    count(ledger, model, 999, "noon")
    count(ledger, model, 999, "noon")
    count(ledger, model, 5000, "beside another champion", champion=9)
    early = answered(ledger, model, run)
    assert early.event is EventKind.ANSWER_INVALID
    assert "v2 has scored 999 of 1,000 rows beside the champion" in early.reason
    count(ledger, model, 1, "one more")
    assert answered(ledger, model, run).event is EventKind.APPROVED


def test_rows_that_an_earlier_podium_recorded_as_events_count_too(ledger: Ledger, model: str) -> None:
    ledger.append(NewEvent(EventKind.PROMOTED, model, 1))
    record_as_before(ledger, model, 500)
    run = nominate(ledger, model, 2, {"shadow_rows": 1000})
    record_as_before(ledger, model, 600)
    count(ledger, model, 399, "today")
    early = answered(ledger, model, run)
    assert "v2 has scored 999 of 1,000 rows beside the champion" in early.reason
    events = ledger.history(model)
    since = history.candidate_since(events, 2)
    assert since is not None
    assert canary.wants_rows(services_with(ledger), events, VersionOnTrial(1, 2), since)
    record_as_before(ledger, model, 1)
    assert answered(ledger, model, run).event is EventKind.APPROVED
    assert not canary.wants_rows(services_with(ledger), ledger.history(model), VersionOnTrial(1, 2), since)


def test_both_terms_must_be_met(ledger: Ledger, model: str) -> None:
    ledger.append(NewEvent(EventKind.PROMOTED, model, 1))
    nominate(ledger, model, 2, {"days": 7}, {"shadow_rows": 10})
    events = ledger.history(model)
    assert len(canary.problems(services_with(ledger), events, 2, NOW)) == 2
    assert len(canary.problems(services_with(ledger), events, 2, NOW + timedelta(days=8))) == 1


def test_where_there_is_no_champion_there_is_nothing_to_be_beside(ledger: Ledger, model: str) -> None:
    run = nominate(ledger, model, 1, {"shadow_rows": 10}, {"live": LIVE})
    assert answered(ledger, model, run).event is EventKind.APPROVED


def keep(ledger: Ledger, model: str, sure: float, rows: int, labels: bool = True, at: datetime = NOW) -> None:
    """Store a pair: the champion gives 0.6 to what comes true, the candidate as it is sure."""
    said = [
        orjson.dumps({"predictions": [[1 - p, p]] * rows, "classes": ["no", "yes"]}).decode()
        for p in (0.6, sure)
    ]
    request = uuid.uuid4().hex
    store = LiveStore(ledger)
    store.write([LiveAnswer(model, request, at, rows, 1, 2, said[0], said[1])])
    if labels:
        store.add_labels(model, request, ["yes"] * rows)


LIVE = {"metric": "log_loss", "labelled_rows": 100, "not_worse": {"margin": 0.05}}
SOON = timedelta(seconds=1)


def test_a_candidate_must_be_no_worse_on_labelled_live_rows(ledger: Ledger, model: str) -> None:
    ledger.append(NewEvent(EventKind.PROMOTED, model, 1))
    run = nominate(ledger, model, 2, {"live": LIVE})
    keep(ledger, model, 0.9, 500, at=datetime.now(UTC) - timedelta(hours=1))
    keep(ledger, model, 0.9, 500, labels=False, at=datetime.now(UTC) + SOON)
    keep(ledger, model, 0.5, 99, at=datetime.now(UTC) + SOON)
    few = answered(ledger, model, run)
    assert few.event is EventKind.ANSWER_INVALID
    assert "v2 has 99 of 100 labelled live rows beside v1 since " in few.reason
    keep(ledger, model, 0.5, 1, at=datetime.now(UTC) + SOON)
    worse = answered(ledger, model, run)
    assert worse.event is EventKind.ANSWER_INVALID
    # log(0.6 / 0.5) on every row, and what a hundred rows leave open.
    assert "log_loss of v2 may be worse than that of v1 by 0.2166 on 100 labelled live rows" in worse.reason
    keep(ledger, model, 0.9, 300, at=datetime.now(UTC) + SOON)
    assert answered(ledger, model, run).event is EventKind.APPROVED


def test_terms_that_an_earlier_podium_recorded_are_read(ledger: Ledger, model: str) -> None:
    rule = {"confidence": 0.95, "margin": 0.05, "resamples": 2000, "seed": 0}
    ledger.append(NewEvent(EventKind.PROMOTED, model, 1))
    run = nominate(ledger, model, 2, {"live": {**LIVE, "not_worse": rule}})
    keep(ledger, model, 0.9, 99, at=datetime.now(UTC) + SOON)
    assert "v2 has 99 of 100 labelled live rows" in answered(ledger, model, run).reason
    keep(ledger, model, 0.9, 1, at=datetime.now(UTC) + SOON)
    assert answered(ledger, model, run).event is EventKind.APPROVED


def test_the_period_begins_anew_when_another_version_was_the_candidate(ledger: Ledger, model: str) -> None:
    nominate(ledger, model, 2, {"days": 7})
    first = history.candidate_since(ledger.history(model), 2)
    nominate(ledger, model, 2, {"days": 7})
    assert history.candidate_since(ledger.history(model), 2) == first
    nominate(ledger, model, 3, {"days": 7})
    assert history.candidate_since(ledger.history(model), 2) is None
    assert canary.problems(services_with(ledger), ledger.history(model), 2, NOW) == [
        "v2 is not the candidate, so its canary period does not run"
    ]
    nominate(ledger, model, 2, {"days": 7})
    again = history.candidate_since(ledger.history(model), 2)
    assert first is not None
    assert again is not None
    assert again.seq > first.seq


def test_a_version_without_terms_waits_for_nothing(ledger: Ledger, model: str) -> None:
    run = nominate(ledger, model, 2)
    assert answered(ledger, model, run).event is EventKind.APPROVED
