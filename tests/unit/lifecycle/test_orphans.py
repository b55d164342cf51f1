"""Models of runs that no version names, and trials of searches: what goes and what stays in MLflow."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podium.errors import NotFound, PodiumError
from podium.ledger import custody
from podium.ledger.events import Event, EventKind
from podium.lifecycle import orphans
from podium.lifecycle.orphans import Swept, reported, sweep
from podium.lifecycle.register import register_version, run_to_take
from podium.lifecycle.retention import retain
from podium.lifecycle.trials import best_trials
from podium.model_file.loading import load_spec
from podium.model_file.retention import AskAboveSpec, RetentionSpec
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.registry.disposal import Disposal
from podium.services import Services
from support.mlflow_client import raw
from support.retained import RULES, add_version, crown, disposal, loads
from support.steps import new_run, train

DAYS = 30
KEPT = RULES.model_copy(update={"trials": 2})


@pytest.fixture
def model(toy_spec: ModelSpec) -> str:
    return toy_spec.name


REAL = custody.now


def pass_days(patch: pytest.MonkeyPatch, days: int) -> None:
    """Put the clock of the ledger's database so many days after today."""
    patch.setattr(custody, "now", lambda ledger: REAL(ledger) + timedelta(days=days))


def log(services: Services, model: str, folder: Path, *, whole: bool = True) -> tuple[str, str]:
    """Let a training run log a model that nobody registers; return run and model."""
    registry = services.registry
    experiment = registry.ensure_experiment(model)
    folder.mkdir(exist_ok=True)
    (folder / "model.skops").write_text("some weights")
    run = registry.create_run(experiment, "never registered", {})
    if whole:
        place = registry.upload_model(experiment, run, "model", folder)
        registry.set_run_tag(run, Tag.INPUTS_DIGEST, uuid.uuid4().hex)
        registry.end_run(run, "FINISHED")
        return run, place
    begun = raw(registry).create_logged_model(experiment, "model", source_run_id=run)
    raw(registry).log_model_artifacts(begun.model_id, str(folder))
    return run, begun.model_id


def go(services: Services, model: str, rules: RetentionSpec = RULES) -> Swept:
    return sweep(services, disposal(services), model, rules, new_run())


def places(swept: Swept) -> tuple[list[str], list[str]]:
    return [one.place for one in swept.waiting], [one.place for one in swept.deleted]


def files(services: Services, place: str) -> dict[str, int]:
    return disposal(services).files(place)


def reports(services: Services, model: str) -> list[Event]:
    return services.ledger.history(model, kinds=[EventKind.ORPHANS_REPORTED])


def test_a_model_that_no_version_names_is_reported_first_and_deleted_after_the_longest_run(
    services: Services, toy_spec: ModelSpec, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_version(services, model)
    run, place = log(services, model, tmp_path / "m")
    inputs = services.registry.run(run).tags[Tag.INPUTS_DIGEST]
    assert (places(go(services, model)), reports(services, model)) == (([], []), [])

    pass_days(monkeypatch, DAYS + 1)
    swept = go(services, model)
    assert places(swept) == ([place], [])
    assert f"1 model of a run (12 bytes) that no version names: {place} of run {run} (12 bytes, of " in str(
        swept.lines()
    )
    (told,) = reports(services, model)
    assert told.details["orphans"][place]["bytes"] == 12
    # From now on nobody takes the run: who trains equal inputs trains anew.
    experiment = services.registry.ensure_experiment(model)
    assert services.registry.finished_run(experiment, inputs) is None
    form = {"mlflow_run": run, "version": None, "profile": None}
    with pytest.raises(PodiumError, match="To register it, remove its tag podium.orphan_since in MLflow"):
        run_to_take(services, model, form)

    pass_days(monkeypatch, 2 * DAYS)
    assert places(go(services, model)) == ([place], [])
    assert len(reports(services, model)) == 1
    assert files(services, place)

    pass_days(monkeypatch, 2 * DAYS + 2)
    assert places(go(services, model)) == ([], [place])
    left = raw(services.registry).search_logged_models([experiment])
    assert place not in {one.model_id for one in left}
    (gone,) = services.ledger.history(model, kinds=[EventKind.ORPHAN_DELETED])
    assert (gone.details["model_id"], gone.details["mlflow_run"], gone.details["bytes"]) == (place, run, 12)
    assert loads(services, model, 1)
    with pytest.raises(NotFound, match=f"run {run}: retention deleted its model; start the Dag again"):
        register_version(services, toy_spec, run, new_run())
    assert [one.number for one in services.registry.versions(model)] == [1]
    assert places(go(services, model)) == ([], [])
    assert services.registry.run(run).name == "never registered"


def test_whoever_took_a_run_before_it_was_reported_registers_it_and_it_stays(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toy_spec.name
    trained = train(services, toy_spec)
    pass_days(monkeypatch, DAYS + 1)
    assert places(go(services, model)) == ([trained.model_id], [])
    number = register_version(services, toy_spec, trained.run_id, new_run())
    pass_days(monkeypatch, 3 * DAYS)
    assert places(go(services, model)) == ([], [])
    assert loads(services, model, number)
    assert Tag.ORPHAN_SINCE not in services.registry.run(trained.run_id).tags
    assert train(services, toy_spec).run_id == trained.run_id, "equal inputs find it again"


def test_what_somebody_takes_back_deletes_or_restores_in_mlflow_waits_anew(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_back, by_hand = log(services, model, tmp_path / "a"), log(services, model, tmp_path / "b")
    pass_days(monkeypatch, DAYS + 1)
    go(services, model)
    raw(services.registry).delete_tag(taken_back[0], Tag.ORPHAN_SINCE)
    raw(services.registry).delete_run(by_hand[0])
    pass_days(monkeypatch, 2 * DAYS + 2)
    assert places(go(services, model)) == ([taken_back[1]], [])
    raw(services.registry).restore_run(by_hand[0])
    pass_days(monkeypatch, 3 * DAYS + 3)
    assert places(go(services, model)) == ([by_hand[1]], [taken_back[1]])
    assert files(services, by_hand[1])


def test_models_of_a_deleted_experiment_stay(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, place = log(services, model, tmp_path / "m")
    experiment = services.registry.ensure_experiment(model)
    pass_days(monkeypatch, DAYS + 1)
    go(services, model)
    raw(services.registry).delete_experiment(experiment)
    pass_days(monkeypatch, 3 * DAYS)
    assert places(go(services, model)) == ([], [])
    raw(services.registry).restore_experiment(experiment)
    assert places(go(services, model)) == ([place], [])
    assert files(services, place)


def test_an_upload_that_never_ended_is_named_as_half_written_and_goes_likewise(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, place = log(services, model, tmp_path / "m", whole=False)
    pass_days(monkeypatch, DAYS + 1)
    assert "half written)" in str(go(services, model).waiting[0])
    pass_days(monkeypatch, 3 * DAYS)
    assert places(go(services, model)) == ([], [place])


def test_a_model_that_a_version_names_by_hand_or_that_its_run_made_besides_stays(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = raw(services.registry)
    run, _ = log(services, model, tmp_path / "a")
    services.registry.add_version(model, run, {})
    services.registry.upload_model(services.registry.ensure_experiment(model), run, "beside", tmp_path / "a")
    _, elsewhere = log(services, model, tmp_path / "b")
    client.create_registered_model(f"{model}-theirs")
    client.create_model_version(f"{model}-theirs", source=f"models:/{elsewhere}")
    for days in (DAYS + 1, 3 * DAYS):
        pass_days(monkeypatch, days)
        assert places(go(services, model)) == ([], [])


@pytest.mark.parametrize("what", ["unmarked", "deleted", "registered"])
def test_what_somebody_does_while_it_runs_wins(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run, place = log(services, model, tmp_path / "m")
    client, asked = raw(services.registry), orphans.due_of
    by_hand = {
        "unmarked": lambda: client.delete_tag(run, Tag.ORPHAN_SINCE),
        "deleted": lambda: client.delete_run(run),
        "registered": lambda: services.registry.add_version(model, run, {}),
    }
    pass_days(monkeypatch, DAYS + 1)
    go(services, model)
    pass_days(monkeypatch, 3 * DAYS)

    def meanwhile(*given: Any) -> list[Any]:
        by_hand[what]()
        return asked(*given)

    with monkeypatch.context() as patch:
        patch.setattr(orphans, "due_of", meanwhile)
        assert places(go(services, model))[1] == []
    assert files(services, place)
    assert places(go(services, model)) == ([place] if what == "unmarked" else [], [])


def test_a_store_that_deletes_nothing_is_named_and_the_next_run_tries_again(
    services: Services, toy_spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toy_spec.name
    spec = toy_spec.model_copy(update={"retention": RULES})
    add_version(services, model)
    run, place = log(services, model, tmp_path / "m")
    pass_days(monkeypatch, DAYS + 1)
    assert place in str(retain(services, spec, "", new_run()))
    pass_days(monkeypatch, 3 * DAYS)
    with monkeypatch.context() as refuses:
        refuses.setattr(Disposal, "delete_files", lambda *_: None)
        with pytest.raises(PodiumError, match=f"{place} of run {run} .* was not deleted: the store did not"):
            retain(services, spec, "", new_run())
    assert files(services, place)
    assert "1 model of a run (12 bytes) that no version names deleted" in str(
        retain(services, spec, "", new_run())
    )


def test_no_more_goes_at_once_than_the_model_file_says(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = RULES.model_copy(update={"ask_above": AskAboveSpec(versions=1)})
    first, second = (log(services, model, tmp_path / name)[1] for name in "ab")
    pass_days(monkeypatch, DAYS + 1)
    go(services, model, rules)
    pass_days(monkeypatch, 3 * DAYS)
    small = RULES.model_copy(update={"ask_above": AskAboveSpec(gigabytes=1e-9)})
    assert places(go(services, model, small)) == ([first, second], [])
    swept = go(services, model, rules)
    assert places(swept) == ([second], [first])
    assert "1 of them are left to later runs, by ask_above" in swept.lines()
    assert places(go(services, model, rules)) == ([], [second])
    assert reported(services, model) == {}


SEARCH: dict[str, Any] = {
    "metric": "log_loss",
    "trials": 5,
    "space": {"strength": {"low": 0.001, "high": 10, "log": True}},
    "validation": {"days": 80},
}


def test_of_a_versions_search_the_best_trials_stay_and_all_of_its_evidence(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(toy_file(name=toy_spec.name, search=SEARCH))
    spec, client = spec.model_copy(update={"retention": KEPT}), raw(services.registry)
    trained = train(services, spec)
    number = register_version(services, spec, trained.run_id, new_run())
    crown(services, spec.name, number)
    experiment = services.registry.ensure_experiment(spec.name)

    def trials() -> dict[str, float]:
        nested = f"tags.`mlflow.parentRunId` = '{trained.run_id}'"
        found = client.search_runs([experiment], nested)
        return {run.info.run_id: run.data.metrics["validation.log_loss"] for run in found}

    before = trials()
    assert "trials of searches" not in str(retain(services, spec, "", new_run()))
    assert trials() == before
    pass_days(monkeypatch, 15)
    assert "3 trials of searches deleted" in str(retain(services, spec, "", new_run()))
    assert sorted(trials().values()) == sorted(before.values())[:2]
    assert loads(services, spec.name, number)
    kept = services.registry.download_artifacts(trained.run_id, "search/search.json", Path.cwd())
    assert len(json.loads(kept.read_text())["trials"]) == 5
    (told,) = services.ledger.history(spec.name, kinds=[EventKind.TRIALS_THINNED])
    assert set(told.details["deleted"]) == set(before) - set(trials())
    client.restore_run(told.details["deleted"][0])
    assert "trials of searches" not in str(retain(services, spec, "", new_run()))
    assert len(trials()) == 3, "somebody restored it by hand"


@pytest.mark.parametrize(("greater", "best"), [(True, [4, 1]), (False, [3, 1])])
def test_the_best_trials_are_those_of_the_metrics_direction_the_first_of_equal_ones(
    greater: bool, best: list[int]
) -> None:
    values = (0.5, None, 0.1, 0.9, 0.5)
    trials = [{"number": number, "value": value} for number, value in enumerate(values, 1)]
    assert best_trials({"greater_is_better": greater, "trials": trials}, 2) == best
