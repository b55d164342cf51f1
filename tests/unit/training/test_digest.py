"""What training depends on changes its digest, so that the same is never trained twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium.model_file.loading import load_spec
from podium.model_file.profiles import Profile
from podium.training.run import training_digest
from support.model_files import RANKING, SEARCH, profile

ToyFile = Callable[..., Path]


def test_only_what_training_depends_on_changes_its_digest(toy_file: ToyFile) -> None:
    spec = load_spec(toy_file())
    same = load_spec(toy_file(description="other", approval__reason_min_length=3))
    other = load_spec(toy_file(holdout__days=99))
    assert training_digest(spec, spec.params) == training_digest(same, same.params)
    assert training_digest(spec, spec.params) != training_digest(other, other.params)
    assert training_digest(spec, {"strength": 1.0}) != training_digest(spec, {"strength": 2.0})


def test_a_comment_does_not_change_the_digest_of_training(toy_file: ToyFile) -> None:
    path = toy_file()
    spec = load_spec(path)
    path.write_text("# yaml-language-server: $schema=../../docs/model-file.schema.json\n" + path.read_text())
    assert training_digest(load_spec(path), spec.params) == training_digest(spec, spec.params)


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer": "support.toy_trainer:crash"},
        {"labels": ["yes", "no"]},
        {"data__label_map": {"n": "no"}},
        {"data__inputs": ["x", "z"]},
        {"skops_trusted_types": ["a.B"]},
        {**RANKING, "data__group": "day"},
    ],
    ids=str,
)
def test_what_training_depends_on_changes_its_digest(toy_file: ToyFile, changes: dict[str, Any]) -> None:
    spec, other = load_spec(toy_file()), load_spec(toy_file(**changes))
    assert training_digest(spec, {}) != training_digest(other, {})


def test_the_gates_do_not_change_the_digest_of_training(toy_file: ToyFile) -> None:
    spec, other = load_spec(toy_file()), load_spec(toy_file(gates=[{"min_holdout_rows": 5}]))
    assert training_digest(spec, {}) == training_digest(other, {})


def test_monitoring_makes_no_other_model(toy_file: ToyFile) -> None:
    spec, watched = load_spec(toy_file()), load_spec(toy_file(monitoring={"windows": "0 0 * * *"}))
    assert training_digest(spec, {}) == training_digest(watched, {})


def test_a_search_and_a_profile_decide_what_training_makes_but_not_a_profiles_gates(
    toy_file: ToyFile,
) -> None:
    plain, searched = load_spec(toy_file()), load_spec(toy_file(search=SEARCH, **profile(trials=2)))
    assert training_digest(plain, {}) != training_digest(searched, {})
    assert training_digest(searched, {}) != training_digest(searched.in_profile(Profile.CI_SMOKE), {})
    gated = load_spec(toy_file(**profile(gates=[{"min_holdout_rows": 5}])))
    assert training_digest(plain, {}) == training_digest(gated.in_profile(Profile.CI_SMOKE), {})


def test_where_a_model_is_trained_does_not_change_what_is_trained(toy_file: ToyFile) -> None:
    here, there = load_spec(toy_file()), load_spec(toy_file(compute={"image": "podium:2", "queue": "gpu"}))
    assert training_digest(here, here.params) == training_digest(there, there.params)
