"""What a version brings with it to be held against: bins, past windows, answers to its holdout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.errors import DataError, TrainerError
from podium.ledger.events import EventKind
from podium.ledger.evidence import EvidenceStore
from podium.ledger.history import registration
from podium.ledger.served_counts import OnBins, Served
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle import register as register_module
from podium.metrics.importance import permutation_importance
from podium.metrics.reference import Reference, count_rows
from podium.metrics.reference_file import FILE, bins_digest, read_reference, reference_content, reference_of
from podium.metrics.windows import Window
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.monitoring import seen as seen_module
from podium.monitoring.journal import Judged
from podium.monitoring.on_record import KINDS, on_record
from podium.monitoring.recompute import evidence_differences
from podium.monitoring.run import monitor_window
from podium.monitoring.verdicts import Said
from podium.registry.manifest import downloaded
from podium.services import Services
from podium.training.run import train_model
from support.steps import FIRST, decide, new_run, pass_gates, promote
from support.toy import write_toy_rows
from unit.monitoring.test_evidence import MONDAY, SECTION, WEEK, add_rows, week

Toy = Callable[..., ModelSpec]


@pytest.fixture
def toy(own_services: Services, toy_file: Callable[..., Path], tmp_path: Path) -> Toy:
    """Train the toy with a section ``monitoring``, and promote it."""
    write_toy_rows(tmp_path / "toy.csv", first_day="2024-01-01")
    known = pd.read_csv(tmp_path / "toy.csv")
    known[known.day < f"{MONDAY:%Y-%m-%d}"].to_csv(tmp_path / "toy.csv", index=False)

    def trained(**more: Any) -> ModelSpec:
        spec, run = load_spec(toy_file(monitoring={**SECTION, **more})), new_run()
        made = train_model(spec, own_services.settings, FIRST, {}, run)
        version = register_module.register_version(own_services, spec, made.run_id, run)
        pass_gates(own_services, spec, version, run)
        nominate_module.nominate_version(own_services, spec.name, run)
        decide(own_services, spec, run)
        promote(own_services, spec, run)
        return spec

    return trained


def monitor(services: Services, spec: ModelSpec, *weeks: int) -> list[Judged]:
    judged: list[Judged] = []
    for number in weeks:
        judged = monitor_window(services, spec, week(number), f"monitor_toy/{number}")
    return judged


def brought(services: Services, model: str) -> Reference:
    with downloaded(services.registry, model, 1) as folder:
        found = reference_of(folder)
    assert found is not None
    return found


def lose_a_row(folder: Path) -> None:
    """Let the training data be no more what it was."""
    pd.read_csv(folder / "toy.csv")[1:].to_csv(folder / "toy.csv", index=False)


def recorded(services: Services, model: str) -> Reference:
    digest = on_record(services.ledger.history(model, kinds=KINDS), 1).reference
    return read_reference(EvidenceStore(services.ledger).one(digest).read())


def test_the_reference_is_a_file_of_the_version_and_needs_no_training_data_later(
    own_services: Services, toy: Toy, tmp_path: Path
) -> None:
    spec = toy()
    registered = registration(own_services.ledger.history(spec.name), 1)
    assert registered is not None
    assert FILE in [file["path"] for file in registered.details["manifest"]]
    # Other rows than those it was trained on: of the reference nothing more is read there.
    add_rows(tmp_path, 0, 2)
    lose_a_row(tmp_path)
    judged = monitor(own_services, spec, 0, 1)
    assert [one.moved.said for one in judged] == [Said.NOTHING_SEEN] * 2
    (made,) = own_services.ledger.history(spec.name, kinds=[EventKind.REFERENCE_MADE])
    assert made.reason == "2 columns and 37 windows of the training data, made with the version"
    found, there = recorded(own_services, spec.name), brought(own_services, spec.name)
    assert reference_content(found) == reference_content(there)
    assert evidence_differences(own_services.ledger, [spec.name]) == []


def test_answers_are_held_against_those_to_the_holdout_and_inputs_against_all_training_rows(
    own_services: Services, toy: Toy
) -> None:
    reference = brought(own_services, toy().name)
    assert list(reference.columns) == ["x", "prediction yes"]
    assert reference.answers == ("prediction yes",)
    assert (reference.metric, reference.windows) == ("log_loss", "0 0 * * 1")
    # All whole weeks but those of the past windows.
    assert reference.columns["x"].counts.sum() == 36 * 7
    # A hundred days held out: half of their fourteen weeks and a bit.
    answers = int(reference.columns["prediction yes"].counts.sum())
    assert 45 <= answers <= 50
    with_answers = [seen for seen in reference.past if "prediction yes" in seen.distances]
    assert len(with_answers) == 7
    assert with_answers == list(reference.past[-7:])


def test_another_schedule_makes_a_new_reference_and_without_the_data_none(
    own_services: Services, toy: Toy, toy_file: Callable[..., Path], tmp_path: Path
) -> None:
    spec = toy()
    add_rows(tmp_path, 0, 2)
    monitor(own_services, spec, 0)
    daily = load_spec(toy_file(monitoring={**SECTION, "windows": "0 0 * * *"}))
    day = Window(MONDAY + WEEK, MONDAY + WEEK + timedelta(days=1))
    (judged,) = monitor_window(own_services, daily, day, "monitor_toy/day")
    assert judged.observation.window == day
    reasons = [
        event.reason for event in own_services.ledger.history(spec.name, kinds=[EventKind.REFERENCE_MADE])
    ]
    assert reasons[1].endswith("made for the first window")
    assert evidence_differences(own_services.ledger, [spec.name]) == []
    lose_a_row(tmp_path)
    hourly = load_spec(toy_file(monitoring={**SECTION, "windows": "0 * * * *"}))
    hour = Window(MONDAY + 2 * WEEK, MONDAY + 2 * WEEK + timedelta(hours=1))
    (unjudged,) = monitor_window(own_services, hourly, hour, "monitor_toy/hour")
    assert unjudged.worst.said is Said.NOT_JUDGED
    assert unjudged.worst.reason == "toy.csv as of 2025-06-01 is not what the version was trained on"
    assert evidence_differences(own_services.ledger, [spec.name]) == []


def test_a_profile_and_a_model_file_without_the_section_bring_none(
    own_services: Services, toy_file: Callable[..., Path], tmp_path: Path
) -> None:
    write_toy_rows(tmp_path / "toy.csv", first_day="2024-01-01")
    spec, run = load_spec(toy_file()), new_run()
    made = train_model(spec, own_services.settings, FIRST, {}, run)
    version = register_module.register_version(own_services, spec, made.run_id, run)
    with downloaded(own_services.registry, spec.name, version) as folder:
        assert reference_of(folder) is None


def test_an_own_detector_is_one_more_stream_with_the_same_guarantee(
    own_services: Services, toy: Toy, tmp_path: Path
) -> None:
    path = "support.own_detectors:spread"
    spec = toy(detectors=[path], alarms={"at_most_one_in": 10})
    reference = brought(own_services, spec.name)
    assert reference.detectors == (path,)
    assert all(path in seen.distances for seen in reference.past)
    add_rows(tmp_path, 0, 3)
    draws = np.random.default_rng(2)
    # Three times as wide, with the same mean.
    number = np.repeat(np.arange(3, 9), 30)
    days = pd.Series(MONDAY.replace(tzinfo=None) + number * WEEK).dt.strftime("%Y-%m-%d")
    wide = pd.DataFrame({"day": days, "x": draws.normal(size=len(number), scale=4.0), "y": "yes"})
    wide.to_csv(tmp_path / "toy.csv", mode="a", header=False, index=False)
    judged = monitor(own_services, spec, *range(9))
    assert judged[0].streams == ("x", "missing x", "prediction yes", "missing prediction yes", path)
    assert [one.moved.said for one in judged[:3]] == [Said.NOTHING_SEEN] * 3
    assert any(path in one.moved.reason for one in judged[3:])
    assert evidence_differences(own_services.ledger, [spec.name]) == []


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "support.own_detectors:nothing must return a finite number, not None"),
        ("broken", "support.own_detectors:broken: KeyError: 'x2'"),
        ("gone", "the module support.own_detectors has no function 'gone'"),
    ],
)
def test_an_own_detector_that_breaks_its_protocol_is_named(toy: Toy, function: str, said: str) -> None:
    with pytest.raises(TrainerError, match=said):
        toy(detectors=[f"support.own_detectors:{function}"])


def test_own_detectors_need_the_training_data_and_say_so(
    own_services: Services, toy: Toy, tmp_path: Path
) -> None:
    spec = toy(detectors=["support.own_detectors:spread"])
    add_rows(tmp_path, 0, 2)
    lose_a_row(tmp_path)
    with pytest.raises(DataError, match="is not what the version was trained on"):
        monitor(own_services, spec, 0)


def served(reference: Reference, rows: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let model servers have counted so many rows in each window."""
    draws = np.random.default_rng(int(rows + 10 * shift))

    def found(_: Any, of: OnBins, span: Any, sizes: Mapping[str, int]) -> Any:
        assert (of.model, of.version, of.digest) == ("toy", 1, bins_digest(reference.bins))
        frame = pd.DataFrame(
            {"x": draws.normal(size=rows) + shift, "prediction yes": draws.uniform(size=rows)}
        )
        counts = count_rows(reference.columns, frame)
        assert sizes == {name: len(counted) for name, counted in counts.items()}
        return Served(rows, 0, counts if rows else {})

    monkeypatch.setattr(seen_module, "served_in", found)
    monkeypatch.setattr(seen_module, "KEPT_DAYS", 10_000)


def test_windows_of_model_servers_are_their_counts_and_harm_is_asked_of_rows_with_labels(
    own_services: Services, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = toy(rows="server")
    reference = brought(own_services, spec.name)
    add_rows(tmp_path, 0, 8)
    served(reference, 25, 0.0, monkeypatch)
    judged = monitor(own_services, spec, 0, 1)
    assert [one.observation.rows for one in judged] == [25, 25]
    assert [one.whole.said for one in judged] == [Said.NOTHING_SEEN] * 2
    assert [one.hurts.said for one in judged] == [Said.NOTHING_SEEN] * 2
    served(reference, 25, 3.0, monkeypatch)
    assert "x moved" in " ".join(one.moved.reason for one in monitor(own_services, spec, *range(2, 6)))
    served(reference, 0, 0.0, monkeypatch)
    assert monitor(own_services, spec, 6)[-1].moved.reason == "no rows"
    assert evidence_differences(own_services.ledger, [spec.name]) == []


def test_counts_of_servers_that_are_kept_no_more_are_no_empty_window(
    own_services: Services, toy: Toy
) -> None:
    spec = toy(rows="server")
    with pytest.raises(DataError, match="begins more than 100 days ago"):
        monitor(own_services, spec, 0)


def test_the_loss_rises_by_what_matters_and_not_by_what_does_not() -> None:
    draws = np.random.default_rng(1)
    inputs = pd.DataFrame({name: draws.normal(size=500) for name in ("much", "little", "none")})
    truth = 3 * inputs["much"] + inputs["little"]

    def loss(rows: pd.DataFrame) -> float:
        return float(((3 * rows["much"] + rows["little"] - truth) ** 2).mean())

    found = permutation_importance(inputs, loss)
    assert found == permutation_importance(inputs, loss)
    assert found["none"] == 0.0
    assert found["much"] == pytest.approx(9 * found["little"], rel=0.3)
