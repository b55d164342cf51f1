"""The picture of judged windows: where champions change, and the MLflow run that keeps it."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from podium.ledger.events import CHAMPION_MOVES, EventKind, NewEvent
from podium.monitoring.on_record import RecordedWindow, recorded_windows
from podium.monitoring.verdicts import Said
from podium.reporting.drift_picture import Mark, drift_picture, marks
from podium.reporting.drift_run import PICTURE, WINDOWS, keep_picture
from podium.services import Services
from support.monitored import DAY, FIRST_DAY, record_windows


@pytest.fixture
def model() -> str:
    return f"drawn-{uuid.uuid4().hex[:8]}"


def move(services: Services, model: str, kind: EventKind, version: int) -> None:
    services.ledger.append(NewEvent(kind, model, version))


def drawn(services: Services, model: str) -> list[RecordedWindow]:
    return sorted(recorded_windows(services.ledger, model), key=lambda one: one.window)


def test_promotions_and_rollbacks_are_marked_where_windows_of_another_version_begin(
    services: Services, model: str
) -> None:
    move(services, model, EventKind.PROMOTED, 1)
    record_windows(services, model, 1, [0.0] * 3)
    move(services, model, EventKind.PROMOTED, 2)
    record_windows(services, model, 2, [0.0] * 2, first=3)
    moves = services.ledger.history(model, kinds=CHAMPION_MOVES)
    both = [Mark(0, "v1 promoted", back=False), Mark(3, "v2 promoted", back=False)]
    assert marks(drawn(services, model), moves) == both
    # A rollback is seen before there is a window of it, and afterwards.
    move(services, model, EventKind.ROLLED_BACK, 1)
    moves = services.ledger.history(model, kinds=CHAMPION_MOVES)
    assert marks(drawn(services, model), moves) == [*both, Mark(5, "rolled back to v1", back=True)]
    record_windows(services, model, 1, [0.0], first=5, made=False)
    assert marks(drawn(services, model), moves) == [*both, Mark(5, "rolled back to v1", back=True)]


def test_the_picture_has_each_stream_the_alarms_and_the_bound_of_the_risk(
    services: Services, model: str
) -> None:
    record_windows(services, model, 1, [0.0, 0.0, 4.0, 4.0, 4.0])
    windows = drawn(services, model)
    heat, risk = drift_picture(windows).axes[:2]
    assert {label.get_text() for label in heat.get_yticklabels()} == {"x"}, "none is ever missing"
    assert "x" in [text.get_text() for text in heat.texts]
    asked = [replace(one, rules=replace(one.rules, at_promotion=0.4, tolerance=0.1)) for one in windows]
    risk = drift_picture(asked).axes[1]
    (bound,) = [line for line in risk.lines if line.get_label() == "tolerated"]
    assert np.asarray(bound.get_ydata()).tolist() == [0.5] * 5


def test_what_raises_an_alarm_is_all_evidence_and_what_was_not_judged_is_grey(
    services: Services, model: str
) -> None:
    record_windows(services, model, 1, [0.0, 4.0, 4.0, 4.0])
    windows = drawn(services, model)
    raised = [one.worst.said is Said.MOVED for one in windows]
    assert any(raised)
    assert [one.evidence["x"] == 1.0 for one in windows] == raised
    assert [set(one.evidence) for one in windows] == [{"x"}] * 4, "no bet is made on what is never missing"
    broken = replace(windows[0], content={**windows[0].content, "inputs": None})
    (shades,) = drift_picture([broken, *windows[1:]]).axes[0].images
    assert np.ma.getmaskarray(np.ma.asarray(shades.get_array())).tolist() == [[True, False, False, False]]


def test_a_run_of_the_version_keeps_the_picture_and_the_record_and_is_no_training(
    services: Services, model: str, tmp_path: Path
) -> None:
    assert keep_picture(services, model) == ""
    record_windows(services, model, 1, [0.0, 4.0])
    run = keep_picture(services, model)
    assert keep_picture(services, model) == run
    assert sorted(services.registry.artifacts(run)) == [PICTURE, WINDOWS]
    folder = services.registry.download_artifacts(run, "", tmp_path)
    assert (folder / PICTURE).read_bytes().startswith(b"\x89PNG")
    starts = [one["window"][0] for one in json.loads((folder / WINDOWS).read_text())]
    first = FIRST_DAY + 60 * DAY
    assert starts == [first.isoformat(), (first + timedelta(days=1)).isoformat()]
    assert services.registry.training_runs(model, 10) == []
