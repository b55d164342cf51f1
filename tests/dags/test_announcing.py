"""What the announcing tasks tell Airflow, on a real ledger."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from podium.ledger.deliveries import Deliveries
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.stack.layout import Layout
from support.answering import answering
from support.toy import TOY

Steps = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def model() -> str:
    return f"told-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def steps(
    run_script: Callable[..., Any],
    own_ledger: Ledger,
    layout: Layout,
    empty_database: str,
    tmp_path: Path,
    model: str,
) -> Steps:
    """Run tasks after each other, with two model files."""
    for name in (model, f"{model}-other"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**TOY, "name": name}))
    (tmp_path / "empty").mkdir()

    def run(*wanted: tuple[str, str, str, Any], **more: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = run_script(
            "announcing.py",
            MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db",
            PODIUM_LEDGER_URL=layout.database_url("podium", empty_database),
            PODIUM_MODELS_DIR=str(tmp_path),
            PODIUM_HOME=str(tmp_path),
            STEPS=json.dumps(wanted),
            **more,
        )
        return found

    return run


def told(step: dict[str, Any]) -> list[tuple[str, int]]:
    return [(asset, extra["seq"]) for asset, extra in step["told"]]


def record(ledger: Ledger, kind: EventKind, model: str, run: str | None = None, **details: Any) -> Event:
    return ledger.append(NewEvent(kind, model, 1, run=run, details=details))


def test_each_dag_tells_its_own_move_once_and_reconcile_none_of_them(
    steps: Steps, own_ledger: Ledger, model: str
) -> None:
    lifecycle = f"lifecycle_{model.replace('-', '_')}"
    promoted = record(own_ledger, EventKind.PROMOTED, model, f"{lifecycle}/1", decision=7)
    rolled = record(own_ledger, EventKind.ROLLED_BACK, model, "rollback_champion/2")
    settled = record(own_ledger, EventKind.OUTSIDE_MOVE_REVERTED, model, "settle_champion/3")
    moved = {"model": model}
    done = steps(
        ("rollback_champion", "announce", "2", moved),
        (lifecycle, "announce", "1", "none"),
        (lifecycle, "note_announced", "1", "before"),
        (lifecycle, "announce", "1", "none"),
        ("rollback_champion", "announce", "2", moved),
        ("rollback_champion", "note_announced", "2", "before"),
        ("rollback_champion", "announce", "2", moved),
        ("settle_champion", "announce", "3", moved),
        ("settle_champion", "note_announced", "3", "before"),
        ("settle_champion", "announce", "3", moved),
    )
    champion, outside = f"champion of {model}", f"champion of {model} moved outside"
    assert [told(step) for step in done] == [
        [],
        [(champion, promoted.seq)],
        [],
        [],
        [(champion, rolled.seq)],
        [],
        [],
        [(champion, settled.seq), (outside, settled.seq)],
        [],
        [],
    ]
    assert done[0]["raised"] == "Outage"
    assert done[3]["raised"] == "AirflowSkipException"
    ((_, extra),) = done[1]["told"]
    assert extra == promoted.without_details()
    assert (extra["model"], extra["version"], extra["actor"]) == (model, 1, "podium")


def test_a_task_that_was_marked_as_a_success_moves_no_cursor(
    steps: Steps, own_ledger: Ledger, model: str
) -> None:
    lifecycle = f"lifecycle_{model.replace('-', '_')}"
    promoted = record(own_ledger, EventKind.PROMOTED, model, f"{lifecycle}/1")
    marked, announced = steps((lifecycle, "note_announced", "1", None), (lifecycle, "announce", "1", "none"))
    assert "raised" not in marked
    assert told(announced) == [(f"champion of {model}", promoted.seq)]


def test_reconcile_announces_and_then_fails_with_what_went_wrong(
    steps: Steps, own_ledger: Ledger, model: str, tmp_path: Path
) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    for name in (model, f"{model}-other"):
        client.create_registered_model(name)
        client.create_model_version(name, source=str(tmp_path / "empty"))
        client.set_registered_model_alias(name, "champion", "1")
    # Nobody can fold this model's record; its alarm is on record from an earlier look that died.
    earlier = record(own_ledger, EventKind.MOVED_OUTSIDE, model)
    record(own_ledger, EventKind.GATES_PASSED, model)
    looked, noted, again, noted_again = steps(
        ("reconcile", "compare_with_ledger", "1", "none"),
        ("reconcile", "note_announced", "1", "before"),
        ("reconcile", "compare_with_ledger", "2", "none"),
        ("reconcile", "note_announced", "2", "before"),
    )
    found = own_ledger.history(f"{model}-other")[-1]
    assert found.event == "moved_outside"
    assert told(looked) == [
        (f"champion of {model} moved outside", earlier.seq),
        (f"champion of {model}-other moved outside", found.seq),
    ]
    assert told(again) == []
    # Whoever sees the run in Airflow reads there what it found.
    assert looked["notes"] == [
        f"{model}-other: Its champion was moved from none to v1, outside Podium; promotions and rollbacks "
        "are frozen until that is settled"
    ]
    assert again["notes"] == []
    for failed in (noted, noted_again):
        assert failed["raised"] == "AirflowFailException"
        assert f"{model}: its record cannot be read" in failed["text"]


def test_the_dag_notify_tells_channels_of_the_environment_and_of_airflow_alike(
    steps: Steps, own_ledger: Ledger, model: str
) -> None:
    move = own_ledger.append(NewEvent(EventKind.PROMOTED, model, 1))
    with answering({"/": "taken"}) as url:
        address = url.replace("http", "json")
        (step,) = steps(
            ("notify", "tell", "1", "none"),
            PODIUM_NOTIFY='{"all": ["here", "kept", "gone"]}',
            PODIUM_NOTIFY_CHANNELS=json.dumps({"here": address}),
            AIRFLOW_CONN_PODIUM_NOTIFY_KEPT=json.dumps(
                {"conn_type": "apprise", "extra": {"config": {"path": address}}}
            ),
        )
    # Neither a channel that nobody knows nor Airflow, which cannot be asked here, fails the task.
    assert step["returned"] is None
    told = Deliveries(own_ledger).told([f"event:{move.seq}"])
    assert told == {(f"event:{move.seq}", "here"), (f"event:{move.seq}", "kept")}
