"""The hyperparameter search: what it tries, what it keeps, and what it leaves behind in MLflow."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import DataError, TrainerError
from podium.model_file.loading import load_spec
from podium.model_file.search import SearchSpec
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.services import Services
from podium.training.data import load_window
from podium.training.fit import fit
from podium.training.run import train_model
from podium.training.search import search_params
from podium.training.search_files import search_pictures
from podium.training.search_result import Search, SearchTrial, best_of
from podium.training.split import validation_rows
from support.mlflow_client import raw
from support.steps import FIRST, new_run, train

ToyFile = Callable[..., Path]
SEARCH: dict[str, Any] = {
    "trials": 6,
    "metric": "log_loss",
    "validation": {"days": 80},
    "space": {"strength": {"low": 0.001, "high": 10, "log": True}},
}
MIXED = {
    "x": {"low": -5, "high": 5},
    "n": {"type": "int", "low": 1, "high": 100, "log": True},
    "kind": {"type": "categorical", "choices": ["a", "b", True, 1]},
}
START = {"x": 1.0, "n": 10, "kind": "b", "fixed": "as it is"}


def plan(**changes: Any) -> SearchSpec:
    return SearchSpec.model_validate({**SEARCH, "space": MIXED, **changes})


def parabola(_: int, params: Mapping[str, Any]) -> float:
    return float((params["x"] - 2) ** 2 + abs(math.log(params["n"] / 7)) + (params["kind"] != "a"))


@pytest.fixture
def searching(toy_spec: ModelSpec, toy_file: ToyFile) -> ModelSpec:
    return load_spec(toy_file(name=toy_spec.name, search=SEARCH))


def nested_in(services: Services, run_id: str, experiment: str) -> list[mlflow.entities.Run]:
    query = f"tags.mlflow.parentRunId = '{run_id}'"
    return list(reversed(raw(services.registry).search_runs([experiment], query)))


def test_the_values_under_params_are_tried_first_and_all_others_stay_in_the_space() -> None:
    found = search_params(plan(trials=30), START, parabola)
    assert found.trials[0].params == {"x": 1.0, "n": 10, "kind": "b"}
    assert [trial.number for trial in found.trials] == list(range(1, 31))
    for trial in found.trials:
        assert -5 <= trial.params["x"] <= 5
        assert isinstance(trial.params["n"], int)
        assert 1 <= trial.params["n"] <= 100
        assert trial.params["kind"] in ("a", "b", True, 1)
    assert found.best.value == min(trial.value for trial in found.trials if trial.value is not None)
    assert found.best.value < parabola(0, START)
    assert set(found.importances) == set(MIXED)


def test_equal_seeds_try_equal_params_and_others_do_not() -> None:
    def tried(seed: int) -> list[Any]:
        return [trial.params for trial in search_params(plan(trials=12, seed=seed), START, parabola).trials]

    assert tried(3) == tried(3)
    assert tried(3) != tried(4)


def test_where_greater_is_better_the_greatest_is_best() -> None:
    found = search_params(plan(metric="accuracy"), START, lambda number, _: float(number % 4))
    assert found.best.number == 3


def failing(*numbers: int) -> Callable[[int, Mapping[str, Any]], float]:
    def attempt(number: int, params: Mapping[str, Any]) -> float:
        if number in numbers:
            raise TrainerError(f"no luck with {number}")
        return parabola(number, params)

    return attempt


def test_a_trial_that_fails_is_counted_and_the_others_decide(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = search_params(plan(), START, failing(1, 4))
    assert [trial.number for trial in found.trials if trial.value is None] == [1, 4]
    assert found.trials[3].problem == "no luck with 4"
    assert found.failed == 2
    assert "best of 6 trials, 2 of them failed: trial" in found.describe()
    assert "search: 2 of 6 trials, 1 failed; best log_loss" in caplog.text
    assert len(caplog.records) <= 6
    with pytest.raises(TrainerError, match="all 6 trials of the search failed; the first: no luck with 1"):
        search_params(plan(), START, failing(*range(10)))


def test_what_is_no_fault_of_the_trainer_ends_the_search() -> None:
    def attempt(number: int, params: Mapping[str, Any]) -> float:
        raise OSError("the disk is away")

    with pytest.raises(OSError, match="the disk is away"):
        search_params(plan(), START, attempt)


@given(
    st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=30), st.sampled_from(["log_loss", "f1"])
)
def test_the_best_so_far_only_gets_better(values: list[float | None], metric: str) -> None:
    spec = plan(metric=metric)
    trials = [SearchTrial(number, {}, value, 0.0) for number, value in enumerate(values, 1)]
    best = [trial.value for trial in best_of(spec, trials) if trial.value is not None]
    there = [value for value in values if value is not None]
    assert best == sorted(best, reverse=metric == "log_loss")
    assert best[-1:] == ([] if not there else [min(there) if metric == "log_loss" else max(there)])


@pytest.mark.parametrize(
    ("attempt", "trials"),
    [
        *((parabola, 1), (parabola, 25), (failing(2), 2), (failing(1, 2), 6), (failing(*range(2, 9)), 8)),
        *((lambda *_: 0.5, 1), (lambda *_: 0.5, 12)),
    ],
)
def test_every_search_can_be_drawn(attempt: Any, trials: int) -> None:
    found = search_params(plan(trials=trials), START, attempt)
    pictures = search_pictures(found)
    assert {"history", "params"} <= set(pictures)
    for figure in pictures.values():
        figure.draw_without_rendering()


def test_validation_days_are_the_newest_before_the_holdout(searching: ModelSpec, tmp_path: Path) -> None:
    window = load_window(searching, FIRST, tmp_path)
    chosen = validation_rows(searching, window)
    times = window.train.time[chosen]
    assert (times.min(), times.max()) == (pd.Timestamp("2024-12-03"), pd.Timestamp("2025-02-20"))
    assert chosen.sum() == 80
    assert window.holdout.time.min() == pd.Timestamp("2025-02-21")


def test_a_validation_share_takes_rows_although_the_holdout_took_a_share_by_the_same_columns(
    toy_spec: ModelSpec, toy_file: ToyFile, tmp_path: Path
) -> None:
    search = {**SEARCH, "validation": {"share": 0.2}}
    spec = load_spec(toy_file(name=toy_spec.name, search=search, holdout={"share": 0.3}))
    chosen = validation_rows(spec, load_window(spec, FIRST, tmp_path))
    assert 0.12 < chosen.mean() < 0.28


def test_a_validation_part_that_takes_all_or_nothing_is_explained(
    toy_spec: ModelSpec, toy_file: ToyFile, tmp_path: Path
) -> None:
    for part, message in (
        ({"days": 999}, "leave none to fit its trials on"),
        ({"share": 1e-9}, "leave none to sc"),
    ):
        spec = load_spec(toy_file(name=toy_spec.name, search={**SEARCH, "validation": part}))
        with pytest.raises(DataError, match=f"search.validation: .* of the 417 training examples {message}"):
            fit(spec, load_window(spec, FIRST, tmp_path), tmp_path)


def test_trials_are_nested_runs_and_the_best_is_fitted_on_all_training_examples(
    services: Services, searching: ModelSpec, tmp_path: Path
) -> None:
    trained = train(services, searching)
    run = raw(services.registry).get_run(trained.run_id)
    nested = nested_in(services, trained.run_id, run.info.experiment_id)
    assert [trial.info.run_name for trial in nested] == [f"trial {number}" for number in range(1, 7)]
    assert {trial.info.status for trial in nested} == {"FINISHED"}
    values = [trial.data.metrics["validation.log_loss"] for trial in nested]
    best = nested[int(np.argmin(values))]
    assert run.data.params == best.data.params
    assert run.data.metrics["search.best_log_loss"] == min(values)
    assert run.data.metrics["search.first_log_loss"] == values[0]
    assert (run.data.metrics["search.trials"], run.data.metrics["search.failed_trials"]) == (6, 0)
    kept = {item.path for item in raw(services.registry).list_artifacts(trained.run_id, "search")}
    assert kept == {
        *("search/search.json", "search/trials.csv", "search/history.png", "search/params.png"),
        "search/importances.png",
    }
    told = mlflow.artifacts.load_dict(f"runs:/{trained.run_id}/search/search.json")
    assert [trial["value"] for trial in told["trials"]] == values

    window = load_window(searching, FIRST, tmp_path)
    model = mlflow.sklearn.load_model(f"models:/{trained.model_id}")
    strength = float(run.data.params["strength"])
    expected = type(model)(C=strength).fit(window.train.inputs, window.train.label)
    np.testing.assert_allclose(model.coef_, expected.coef_)


def test_only_the_training_run_counts_and_equal_inputs_search_once(
    services: Services, searching: ModelSpec
) -> None:
    first = train(services, searching)
    assert train(services, searching).run_id == first.run_id
    assert [run.run_id for run in services.registry.training_runs(searching.name, 99)] == [first.run_id]
    other = searching.model_copy(update={"search": SearchSpec.model_validate({**SEARCH, "seed": 1})})
    assert train(services, other).run_id != first.run_id


def test_a_param_that_the_form_gives_is_not_searched(services: Services, searching: ModelSpec) -> None:
    trained = train(services, searching, strength=0.5)
    run = raw(services.registry).get_run(trained.run_id)
    assert run.data.params == {"strength": "0.5"}
    assert nested_in(services, trained.run_id, run.info.experiment_id) == []


def test_failed_trials_are_failed_runs_and_a_search_without_any_good_one_is_no_training_run(
    services: Services, toy_spec: ModelSpec, toy_file: ToyFile
) -> None:
    weak = "support.toy_trainer:train_weakly"
    spec = load_spec(toy_file(name=toy_spec.name, search={**SEARCH, "seed": 1}, trainer=weak))
    trained = train(services, spec)
    run = raw(services.registry).get_run(trained.run_id)
    nested = nested_in(services, trained.run_id, run.info.experiment_id)
    failed = [trial for trial in nested if trial.info.status == "FAILED"]
    assert 0 < len(failed) == run.data.metrics["search.failed_trials"] < 6
    assert "ValueError: too strong" in failed[0].data.tags[Tag.PROBLEM]

    crash = load_spec(toy_file(name=toy_spec.name, search=SEARCH, trainer="support.toy_trainer:crash"))
    with pytest.raises(TrainerError, match="all 6 trials .* failed; the first: .*KeyError: 'no such param'"):
        train(services, crash)
    assert len(services.registry.training_runs(spec.name, 99)) == 1


def test_what_a_killed_try_left_open_is_ended_by_the_next_and_counts_as_nothing(
    services: Services, searching: ModelSpec, toy_file: ToyFile
) -> None:
    run = new_run()
    killed = load_spec(
        toy_file(name=searching.name, search=SEARCH, trainer="support.toy_trainer:train_until_killed")
    )
    with pytest.raises(KeyboardInterrupt):
        train_model(killed, services.settings, FIRST, {}, run)
    experiment = services.registry.ensure_experiment(searching.name)
    left = raw(services.registry).search_runs([experiment])
    assert [each.info.status for each in left] == ["FAILED", "FAILED"]
    # As if the process had been killed so hard that it could not even end them.
    for each in left:
        raw(services.registry).update_run(each.info.run_id, status="RUNNING")
    trained = train_model(searching, services.settings, FIRST, {}, run)
    assert [found.run_id for found in services.registry.training_runs(searching.name, 99)] == [trained.run_id]
    for each in left:
        assert raw(services.registry).get_run(each.info.run_id).info.status == "KILLED"


@pytest.mark.trains
def test_training_locally_searches_too(searching: ModelSpec, tmp_path: Path) -> None:
    from podium.training.local import train_locally

    train_locally(searching, FIRST, tmp_path, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "search" / "search.json").read_text())
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["params"] == told["best_params"]
    lines = (tmp_path / "out" / "search" / "trials.csv").read_text().splitlines()
    assert lines[0] == "trial,strength,log_loss,seconds,problem"
    assert len(lines) == 7
    assert (tmp_path / "out" / "search" / "history.png").stat().st_size > 1000


def test_a_search_says_what_it_found() -> None:
    found = search_params(plan(trials=3), START, lambda number, _: 1.0 / number)
    assert isinstance(found, Search)
    assert json.loads(json.dumps(found.as_json()))["best_trial"] == 3
    assert "trial 3 with x " in found.describe()
    assert found.describe().endswith("log_loss 0.3333 on 80 days of the training examples")
