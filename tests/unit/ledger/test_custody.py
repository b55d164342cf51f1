"""What retention asks the ledger, and the live answers that it forgets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from podium.errors import PodiumError
from podium.ledger import custody
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.live_answers import LiveAnswer, LiveStore
from podium.ledger.store import Ledger

FILES = [{"path": "MLmodel", "size": 5, "sha256": "a"}, {"path": "data/x", "size": 7, "sha256": "b"}]


def registered(number: int, model: str, **details: str) -> NewEvent:
    known = {"mlflow_run": f"run-{number}", "manifest": FILES, "manifest_digest": f"digest-{number}"}
    return NewEvent(EventKind.REGISTERED, model, number, details={**known, **details})


def test_of_each_version_the_facts_of_its_newest_events(own_ledger: Ledger) -> None:
    for number in (1, 2, 3):
        own_ledger.append(registered(number, "toy", **({"podium.copied_from": "x"} if number == 3 else {})))
    own_ledger.append(registered(4, "other"))
    for kind, number, actor in (
        (EventKind.HELD, 1, "amy"),
        (EventKind.HELD, 2, "amy"),
        (EventKind.HOLD_RELEASED, 2, "bob"),
        (EventKind.QUARANTINED, 2, "podium retention"),
        (EventKind.RESTORED, 2, "amy"),
        (EventKind.GATES_PASSED, 2, "podium"),
    ):
        own_ledger.append(NewEvent(kind, "toy", number, actor=actor, reason="why"))
    own_ledger.append(NewEvent(EventKind.COPIED_TO, "toy", 1, details={"target": "https://prod"}))
    own_ledger.append(NewEvent(EventKind.DELETED, "toy", 3))
    one, two, three = custody.versions_on_record(own_ledger, "toy")
    assert (one.size, one.files, one.digest, one.run_id) == (12, 2, "digest-1", "run-1")
    assert (one.held_by, one.held_for, one.copied_to, one.custody) == ("amy", "why", "https://prod", None)
    assert (two.held_by, two.custody, two.custody_by, two.judged) == ("", EventKind.RESTORED, "amy", True)
    assert (three.custody, three.copied_here, three.judged) == (EventKind.DELETED, True, False)
    assert [found.number for found in custody.versions_on_record(own_ledger, "toy", [3, 9])] == [3]
    assert custody.newest_numbers(own_ledger, "toy", 2) == [3, 2]
    assert custody.deleted_versions(own_ledger, ["toy", "other"]) == {("toy", 3)}


def test_ten_thousand_versions_are_read_by_one_query(own_ledger: Ledger) -> None:
    asked: list[str] = []
    sa.event.listen(own_ledger.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    custody.versions_on_record(own_ledger, "toy")
    assert len([statement for statement in asked if "ledger_events" in statement]) == 1


def test_old_live_answers_go_in_small_batches_and_those_of_the_last_day_stay(
    own_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podium.ledger.live_answers._FORGOTTEN_AT_ONCE", 2)
    store, now = LiveStore(own_ledger), datetime.now(UTC)
    for model in ("toy", "other"):
        old = [answer(model, f"old-{n}", now - timedelta(days=100)) for n in range(5)]
        store.write([*old, answer(model, "new", now)])
    store.add_labels("toy", "old-1", ["yes"])
    assert store.forget("toy", now - timedelta(days=90)) == 5
    assert store.forget("toy", now - timedelta(days=90)) == 0
    assert store.find("toy", "new") is not None
    assert store.find("toy", "old-1") is None
    assert store.find("other", "old-1") is not None
    with pytest.raises(PodiumError, match="live answers of the last day stay"):
        store.forget("toy", now)


def answer(model: str, name: str, at: datetime) -> LiveAnswer:
    return LiveAnswer(model, name, at, 1, 1, 2, '{"predictions": [1]}', None)
