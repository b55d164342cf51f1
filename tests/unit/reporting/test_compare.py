"""Runs and versions side by side."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import NotFound, OutOfUse, PodiumError
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle.nominate import nominate_version
from podium.lifecycle.register import register_version
from podium.lifecycle.validate import validate_version
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.reporting.compare import ComparedVersion, Comparison, compare_runs, compare_versions
from podium.services import Services
from support.steps import (
    FIRST,
    SECOND,
    TRAINED,
    decide,
    new_run,
    pass_gates,
    promote,
    promote_as_of,
    train,
)
from support.store import stored_files

invoke = CliRunner().invoke

SIDE = ComparedVersion(
    "v1", "r1", "champion", "2025-06-01", "d", "w", {"strength": "1", "seed": "0"}, {"log_loss": 0.5}
)
BETTER = replace(
    SIDE, name="v2", run="r2", is_now="", params={"strength": "2", "seed": "0"}, metrics={"log_loss": 0.4}
)
NONE = replace(SIDE, name="v3", run="r3", metrics={"log_loss": float("nan"), "accuracy": 0.9})


def compared(*sides: ComparedVersion, metric: str = "log_loss", greater: bool = False) -> Comparison:
    return Comparison("toy", sides, metric, greater)


def test_the_best_is_found_in_the_metrics_direction_and_nan_is_never_best() -> None:
    best = compared(NONE, BETTER, SIDE).best("log_loss")
    assert best is BETTER
    assert compared(NONE, SIDE).best("accuracy") is NONE
    assert compared(NONE).best("log_loss") is None
    assert compared(SIDE, BETTER, metric="own", greater=True).best("unknown") is None


def test_a_run_of_a_profile_is_never_the_best() -> None:
    less = replace(BETTER, params={**BETTER.params, "podium.profile": "ci-smoke"})
    assert compared(less, SIDE).best("log_loss") is SIDE
    assert compared(less).best("log_loss") is None


def test_only_params_that_differ_are_worth_a_look() -> None:
    assert compared(SIDE, BETTER).differing_params() == ["strength"]
    assert compared(SIDE).differing_params() == []


def test_numbers_of_other_rows_are_known_as_such() -> None:
    assert compared(SIDE, BETTER).same_rows
    assert not compared(SIDE, replace(BETTER, judged_on="other days")).same_rows


OTHER = replace(BETTER, judged_on="an easy month", as_of="2025-05-01")


def test_none_is_the_best_across_different_rows() -> None:
    easy = compared(SIDE, OTHER)
    assert easy.best("log_loss") is None
    assert easy.as_json()["best"] is None
    (said,) = easy.rows()
    assert said.endswith("their numbers cannot be compared: none is the best.")
    assert "they were judged on different rows" in easy.no_best()
    # Other rows of the same days, too.
    assert compared(SIDE, replace(BETTER, data_version="e")).best("log_loss") is None


def test_those_of_the_newest_rows_have_an_order_among_them() -> None:
    worse = replace(SIDE, name="v4", metrics={"log_loss": 0.6})
    assert compared(SIDE, worse, OTHER).best("log_loss") is SIDE
    assert "the best is one of those on the newest rows, v1, v4." in compared(SIDE, worse, OTHER).rows()[0]


def test_what_was_scored_again_has_an_order_but_the_trainers_numbers_have_none() -> None:
    sides = [
        replace(side, scored_on="v1: w", metrics={**side.metrics, "trainer.f": 1}) for side in (SIDE, OTHER)
    ]
    again = compared(*sides)
    assert again.same_rows
    assert again.best("log_loss") is sides[1]
    assert again.rows() == ["Each was scored again on the same rows, those of v1: w."]
    assert compared(*sides, metric="trainer.f").best("trainer.f") is None
    seen = [sides[0], replace(sides[1], unfair="v2 was trained on 9 of these rows")]
    assert compared(*seen).rows()[1] == "Not compared: v2 was trained on 9 of these rows."
    # The one that is left is no best.
    assert compared(*seen).best("log_loss") is None
    assert compared(*seen, replace(sides[0], metrics={"log_loss": 0.7})).best("log_loss") is sides[0]


def register_and_promote(services: Services, spec: ModelSpec, as_of: datetime, **params: float) -> int:
    run = new_run()
    number = register_version(services, spec, train(services, spec, as_of, **params).run_id, run)
    pass_gates(services, spec, number, run)
    nominate_version(services, spec.name, run)
    decide(services, spec, run)
    promote(services, spec, run)
    return number


def test_versions_of_different_rows_are_scored_again_on_the_newest(
    services: Services, toy_spec: ModelSpec
) -> None:
    register_and_promote(services, toy_spec, FIRST, strength=1.0)
    run = new_run()
    weak = train(services, toy_spec, SECOND, strength=0.0001)
    register_version(services, toy_spec, weak.run_id, run)
    report = validate_version(services, toy_spec, 2, run)
    found = compare_versions(services, toy_spec, None)
    assert [side.name for side in found.sides] == ["v2", "v1"]
    # The numbers of validate, which scored the champion on the candidate's rows.
    assert found.sides[1].metrics["log_loss"] == report.scores.references["champion"]["log_loss"]
    assert found.sides[0].metrics["log_loss"] == report.scores.candidate["log_loss"]
    assert found.best("log_loss") is found.sides[1]
    shown = invoke(app, ["compare", toy_spec.name])
    assert shown.exit_code == 0, shown.stderr
    assert "Each was scored again on the same rows, those of v2: 2025-03-23 to" in " ".join(
        shown.stdout.split()
    )


def test_a_version_in_quarantine_is_not_loaded_and_never_the_best(
    services: Services, toy_spec: ModelSpec
) -> None:
    name = toy_spec.name
    for as_of, strength in ((FIRST, 2.0), (SECOND, 1.0), (SECOND, 0.0001)):
        trained = train(services, toy_spec, as_of, strength=strength)
        register_version(services, toy_spec, trained.run_id, new_run())
    for number in (2, 1):
        services.ledger.append(NewEvent(EventKind.QUARANTINED, name, number, reason="nothing keeps it"))
        shutil.rmtree(stored_files(services, name, number))
    found = compare_versions(services, toy_spec, None)
    assert [side.name for side in found.sides] == ["v3"]
    assert found.best("log_loss") is found.sides[0]
    assert [said.partition(" since ")[0] for said in found.rows()] == [
        f"Not compared: {name} v2 is in quarantine",
        f"Not compared: {name} v1 is in quarantine",
    ]
    services.ledger.append(NewEvent(EventKind.QUARANTINED, name, 3))
    with pytest.raises(OutOfUse, match=f"{name} v3 is in quarantine since .*{name} v2 is in quarantine"):
        compare_versions(services, toy_spec, None)


def test_a_version_that_knows_the_newest_rows_is_not_compared(
    services: Services, toy_spec: ModelSpec
) -> None:
    short = toy_spec.model_copy(update={"holdout": toy_spec.holdout.model_copy(update={"days": 10})})
    register_and_promote(services, short, FIRST, strength=2.0)
    register_and_promote(services, toy_spec, SECOND)
    found = compare_versions(services, toy_spec, None)
    assert found.rows()[1:] == [
        "Not compared: v1 was trained on rows up to 2025-05-21, and 60 of these 100 holdout rows are no "
        "newer: it may know their answers, and looks better here than it is."
    ]
    assert found.best("log_loss") is None


def test_a_version_that_takes_other_columns_is_not_compared(
    services: Services, toy_spec: ModelSpec, tmp_path: Path
) -> None:
    register_and_promote(services, toy_spec, FIRST)
    table = tmp_path / "toy.csv"
    pd.read_csv(table).rename(columns={"x": "z"}).to_csv(table, index=False)
    other = toy_spec.model_copy(update={"data": toy_spec.data.model_copy(update={"inputs": ("z",)})})
    register_and_promote(services, other, SECOND)
    found = compare_versions(services, other, None)
    assert found.rows()[1] == "Not compared: v1 takes the columns x, which the holdout does not have."
    assert found.best("log_loss") is None


def test_runs_of_different_rows_have_no_best_and_none_is_nominated(
    services: Services, toy_spec: ModelSpec
) -> None:
    train(services, toy_spec, FIRST)
    train(services, toy_spec, SECOND)
    found = compare_runs(services, toy_spec, None)
    assert found.best("log_loss") is None
    done = invoke(
        app, ["compare", toy_spec.name, "--runs", "--nominate-best", "--user", "x", "--password", "y"]
    )
    assert done.exit_code == 1
    assert "they were judged on different rows, so their numbers cannot be compared" in " ".join(
        done.stderr.split()
    )
    assert "*" not in done.stdout


def test_versions_are_compared_with_their_aliases(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    promote_as_of(services, toy_spec, SECOND)
    # The tests share the training runs of another model's name.
    with pytest.raises(NotFound, match=r"\(trained-once, FINISHED\) is not a finished training run of toy-"):
        compare_versions(services, toy_spec, None)
    renamed = toy_spec.model_copy(update={"name": "trained-once"})
    found = compare_runs(services, renamed, None)
    assert {side.run for side in found.sides} == {run.run_id for run in TRAINED.values()}


def test_runs_are_compared_and_the_command_prints_them_in_every_form(
    services: Services, toy_spec: ModelSpec, tmp_path: Path
) -> None:
    weak, strong = train(services, toy_spec, strength=0.0001), train(services, toy_spec, strength=1.0)
    found = compare_runs(services, toy_spec, None)
    assert [side.run for side in found.sides] == [strong.run_id, weak.run_id]
    assert (found.metric, found.same_rows, found.differing_params()) == ("log_loss", True, ["strength"])
    best = found.best("log_loss")
    assert best is not None
    assert best.run == strong.run_id
    shown = invoke(app, ["compare", toy_spec.name, "--runs", "--png", str(tmp_path / "runs.png")])
    assert shown.exit_code == 0, shown.stderr
    marked = next(line for line in shown.stdout.splitlines() if "log_loss" in line)
    assert marked.split()[2] == "*"
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads(invoke(app, ["compare", toy_spec.name, "--runs", "--json"]).stdout)
    assert (content["best"], content["sides"][1]["params"]) == (strong.run_id[:8], {"strength": "0.0001"})
    rows = list(csv.DictReader(StringIO(invoke(app, ["compare", toy_spec.name, "--runs", "--csv"]).stdout)))
    assert [row["strength"] for row in rows] == ["1.0", "0.0001"]
    assert float(rows[0]["log_loss"]) < float(rows[1]["log_loss"])


def test_another_metric_decides_where_asked_and_an_unknown_one_is_explained(
    services: Services, toy_spec: ModelSpec
) -> None:
    train(services, toy_spec, strength=3.0)
    assert compare_runs(services, toy_spec, "accuracy").greater_is_better
    with pytest.raises(PodiumError, match="no metric 'acuracy'; available: accuracy, brier_score"):
        compare_runs(services, toy_spec, "acuracy")


def test_what_was_never_trained_cannot_be_compared(
    services: Services, toy_file: Callable[..., Path], toy_spec: ModelSpec
) -> None:
    spec = load_spec(toy_file(name=f"{toy_spec.name}-never"))
    with pytest.raises(NotFound, match="has no finished training run yet"):
        compare_runs(services, spec, None)
    with pytest.raises(NotFound, match="has no version yet"):
        compare_versions(services, spec, None)
    done = invoke(app, ["compare", spec.name])
    assert done.exit_code == 1
    assert "has no version yet" in " ".join(done.stderr.split())
