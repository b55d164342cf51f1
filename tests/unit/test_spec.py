from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podium.errors import NotFound, SpecError
from podium.settings import PROJECT_ROOT
from podium.spec import find_spec, load_spec, load_specs, training_digest

ToyFile = Callable[..., Path]


def test_the_shipped_model_files_are_good() -> None:
    specs, errors = load_specs(PROJECT_ROOT / "include" / "models")
    assert errors == []
    assert "soccer-match-outcome" in specs
    assert specs["soccer-match-outcome"].lifecycle_dag_id == "lifecycle_soccer_match_outcome"


def test_a_good_file_is_read(toy_file: ToyFile) -> None:
    spec = load_spec(toy_file())
    assert spec.approval.expires_after == timedelta(hours=1)
    assert [type(gate).__name__ for gate in spec.gates] == ["RowsGate", *["MetricGate"] * 3]


def test_the_approval_that_a_file_does_not_describe_is_strict(toy_file: ToyFile) -> None:
    approval = load_spec(toy_file()).approval
    assert (approval.required, approval.prevent_self_approval, approval.checklist) == (1, True, ())
    assert approval.valid_for == timedelta(days=1)
    assert load_spec(toy_file()).champion_moved_outside == "ask"


def test_roles_may_approve_as_many_as_there_are(toy_file: ToyFile) -> None:
    path = toy_file(
        approval={
            "approvers": ["amy", "role:Op"],
            "required": 5,
            "prevent_self_approval": False,
            "checklist": ["I looked at the calibration"],
            "valid_for": "12h",
        },
        champion_moved_outside="revert",
    )
    spec = load_spec(path)
    assert spec.approval.approvers == ("amy", "role:Op")
    assert (spec.approval.required, spec.approval.prevent_self_approval) == (5, False)
    assert spec.approval.checklist == ("I looked at the calibration",)
    assert spec.approval.valid_for == timedelta(hours=12)
    assert spec.champion_moved_outside == "revert"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "My Model"}, "name: 'My Model': must be lower-case words and digits joined by '-'"),
    ({"trainer": "toy_trainer"}, "trainer: 'toy_trainer': must be an import path such as"),
    ({"task": "clustering"}, "task: 'clustering': Input should be 'classification'"),
    ({"labels": ["only"]}, "labels: ['only']: needs at least 2"),
    ({"labels": ["a", "a"]}, "labels: ['a', 'a']: each label once"),
    (
        {"shedule": "@daily"},
        "shedule: unknown key; did you mean 'schedule'? allowed: approval, champion_moved_outside, data",
    ),
    ({"data__time_colum": "day"}, "data.time_colum: unknown key; did you mean 'time_column'?"),
    ({"data__inputs": []}, "data.inputs: []: needs at least 1"),
    ({"holdout__days": 0}, "holdout.days: 0: Input should be greater than 0"),
    ({"gates": []}, "gates: []: needs at least 1"),
    ({"gates": [{"metric": "logloss", "threshold": 1}]}, "gates[0].metric: 'logloss': Input should be"),
    ({"gates": [{"metric": "log_loss"}]}, "gates[0]: give either threshold, or against with one of"),
    (
        {"gates": [{"metric": "log_loss", "threshold": 1, "against": "champion"}]},
        "gates[0]: threshold is absolute: give it alone",
    ),
    (
        {"gates": [{"metric": "log_loss", "against": "champion", "max_regresion_abs": 1}]},
        "gates[0].max_regresion_abs: unknown key; did you mean 'max_regression_abs'?",
    ),
    ({"gates": [{"min_holdout_rows": -1}]}, "gates[0].min_holdout_rows: -1: Input should be greater"),
    ({"approval__approvers": []}, "approval.approvers: []: needs at least 1"),
    ({"approval__expires_after": "2 weeks"}, "approval.expires_after: '2 weeks': a duration such as 30m"),
    ({"approval__expires_after": "0d"}, "approval.expires_after: '0d': a duration such as 30m"),
    ({"approval__expires_after": "99999999999d"}, "approval.expires_after: '99999999999d': a duration"),
    ({"approval__expires_after": "366d"}, "approval.expires_after: '366d': a duration"),
    ({"approval__valid_for": "0h"}, "approval.valid_for: '0h': a duration such as 30m, 12h or 3d"),
    ({"approval__required": 0}, "approval.required: 0: Input should be greater than or equal to 1"),
    ({"approval__required": 2}, "approval: 2 people are required, but only 1 may approve"),
    (
        {"approval__required": 4, "approval__approvers": ["a", "b", "c"]},
        "approval: 4 people are required, but only 3 may approve",
    ),
    ({"approval__approvers": ["amy", "ben", "amy"]}, "approval: approvers: each name once"),
    ({"approval__approvers": ["role:op", "role:op"]}, "approval: approvers: each name once"),
    ({"approval__approvers": [""]}, "approval.approvers[0]: '': String should have at least 1 character"),
    ({"approval__checklist": ["checked", "checked"]}, "approval: checklist: each statement once"),
    ({"approval__checklist": [""]}, "approval.checklist[0]: '': String should have at least 1 character"),
    ({"approval__checklst": ["x"]}, "approval.checklst: unknown key; did you mean 'checklist'?"),
    (
        {"approval__prevent_self_approval": "perhaps"},
        "approval.prevent_self_approval: 'perhaps': Input should",
    ),
    (
        {"champion_moved_outside": "accept"},
        "champion_moved_outside: 'accept': Input should be 'ask' or 'revert'",
    ),
    ({"data__inputs": ["x", "y"]}, "data: inputs must not hold the label 'y'"),
    ({"data__inputs": ["x", "x"]}, "data: inputs: each column once"),
    (
        {"gates": [{"metric": "log_loss", "threshold": float("inf")}]},
        "gates[0].threshold: inf: Input should be",
    ),
    ({"labels": [0, 1]}, "labels[0]: 0: Input should be a valid string"),
    ({"approval": {}}, "approval.approvers: missing"),
    ({"retention": {"keep_versions": 0}}, "retention.keep_versions: 0: Input should be greater than 0"),
    ({"schedule": "every monday"}, "schedule: 'every monday': a cron expression such as '0 6 * * 1'"),
    ({"requirements": []}, "requirements: []: needs at least 1"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_file_is_explained(toy_file: ToyFile, changes: dict[str, Any], message: str) -> None:
    path = toy_file(**changes)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert f"{path}: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", "not a YAML file"),
        (b"\xff\xfe", "not a YAML file"),
        (b"", "a model file is a mapping"),
        (b"- a", "a model file is a mapping"),
        (b"params: {seed: 2024-02-30}", "day is out of range for month"),
        (b"a: " + b"[" * 1500, "not a YAML file"),
        (b"name: a\nname: b", "key 'name' twice"),
    ],
)
def test_a_file_that_is_no_mapping_is_explained(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        load_spec(path)


def test_all_problems_of_a_file_are_told_at_once(toy_file: ToyFile) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(toy_file(owner="", labels=[], nonsense=1))
    assert len(caught.value.problems) == 3


def test_one_wrong_file_stops_no_other(toy_file: ToyFile, tmp_path: Path) -> None:
    toy_file()
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    (tmp_path / "twin.yaml").write_text((tmp_path / "toy.yaml").read_text())
    specs, errors = load_specs(tmp_path)
    assert list(specs) == ["toy"]
    assert [error.path.name for error in errors] == ["broken.yaml", "twin.yaml"]
    assert "name: 'toy' is already used by" in str(errors[1])


def test_an_unknown_model_is_explained(toy_file: ToyFile, tmp_path: Path) -> None:
    toy_file()
    with pytest.raises(NotFound, match=r"no model 'toi' in .*; there are: toy"):
        find_spec(tmp_path, "toi")


def test_only_what_training_depends_on_changes_its_digest(toy_file: ToyFile) -> None:
    spec = load_spec(toy_file())
    same = load_spec(toy_file(description="other", approval__reason_min_length=3))
    other = load_spec(toy_file(holdout__days=99))
    assert training_digest(spec, spec.params) == training_digest(same, same.params)
    assert training_digest(spec, spec.params) != training_digest(other, other.params)
    assert training_digest(spec, {"strength": 1.0}) != training_digest(spec, {"strength": 2.0})
