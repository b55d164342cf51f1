"""Runs on less: what they train on, which alias their versions bear, that nobody promotes or serves those."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import CannotRollBack, NotFound, PodiumError, ProfileOnly, Refused
from podium.ledger import history
from podium.ledger.events import Event, EventKind
from podium.lifecycle import approval, settle, validate
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle import register as register_module
from podium.lifecycle import rollback as champion_module
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.model_card import ARTIFACT
from podium.lifecycle.outcome import outcome_of
from podium.lifecycle.profile_rules import promotion_problem, refuse_alias, refuse_to_serve
from podium.lifecycle.verify import alias_differences
from podium.model_file.loading import load_spec
from podium.model_file.profiles import FEWEST_ROWS, Profile, named_profile
from podium.model_file.spec import ModelSpec
from podium.names import Alias, RunOutcome, Tag
from podium.reporting import approval_card
from podium.reporting.status import model_statuses
from podium.services import Services
from podium.settings import registry_is_ephemeral
from podium.training.data import load_window
from podium.training.examples import DataReport, DataWindow, TrainingExamples
from podium.training.run import train_model
from podium.training.split import thinned, validation_rows
from support.mlflow_client import raw
from support.moved_outside import look
from support.steps import (
    FIRST,
    SECOND,
    asked_now,
    decide,
    new_run,
    nominate,
    promote,
    promote_as_of,
    roll_back,
)

ToyFile = Callable[..., Path]
GATES = [{"min_holdout_rows": 50}]
PROFILES = {"ci-smoke": {"rows": 0.001, "trials": 2, "gates": GATES}, "smoke": {"trials": 3}}
SEARCH: dict[str, Any] = {
    "trials": 4,
    "metric": "log_loss",
    "validation": {"days": 80},
    "space": {"strength": {"low": 0.001, "high": 10, "log": True}},
}


@pytest.fixture
def spec(toy_spec: ModelSpec, toy_file: ToyFile) -> ModelSpec:
    return load_spec(toy_file(name=toy_spec.name, search=SEARCH, profiles=PROFILES))


@pytest.fixture
def ephemeral(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_EPHEMERAL", "true")


def trained(services: Services, spec: ModelSpec, profile: Profile | None, as_of: Any = FIRST) -> str:
    return train_model(spec, services.settings, as_of, {}, new_run(), profile).run_id


def register(
    services: Services, spec: ModelSpec, profile: Profile | None, run: str, as_of: Any = FIRST
) -> int:
    mlflow_run = trained(services, spec, profile, as_of)
    return register_module.register_version(services, spec, mlflow_run, run)


def judge_and_nominate(services: Services, spec: ModelSpec, profile: Profile | None, run: str) -> int:
    number = register(services, spec, profile, run)
    validate.validate_version(services, spec, number, run)
    return nominate_module.nominate_version(services, spec.name, run)["version"]


def registered(**details: Any) -> Event:
    return Event.from_json(
        {
            **{"seq": 1, "at": "2025-06-01T00:00:00+00:00", "event": "registered", "model": "toy"},
            **{"version": 7, "from_version": None, "actor": "podium", "reason": "", "run": "r", "key": "k"},
            **{"details": {"manifest": [], **details}, "previous_hash": "", "hash": ""},
        }
    )


def test_the_alias_ci_smoke_is_never_served() -> None:
    with pytest.raises(ProfileOnly, match="the alias 'ci-smoke' is not served: .* Serve 'champion'"):
        refuse_alias("ci-smoke")
    for alias in (None, "champion", "candidate", "smoke"):
        refuse_alias(alias)


def test_a_ci_smoke_version_is_served_only_where_the_registry_is_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [registered(profile="ci-smoke")]
    monkeypatch.setenv("PODIUM_EPHEMERAL", "false")
    with pytest.raises(ProfileOnly, match="toy v7 is not served: it is a ci-smoke version, toy data"):
        refuse_to_serve(events, 7)
    for others in ([], [registered()], [registered(profile="smoke")]):
        refuse_to_serve(others, 7)
    monkeypatch.setenv("PODIUM_EPHEMERAL", "true")
    refuse_to_serve(events, 7)


def test_only_a_profile_is_a_problem_and_only_where_the_registry_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PODIUM_EPHEMERAL", "false")
    assert promotion_problem([], 7) == promotion_problem([registered()], 7) == ""
    for profile in Profile:
        problem = promotion_problem([registered(profile=profile.value)], 7)
        assert problem.startswith(f"toy v7 is a {profile} version: {profile.purpose}, never promoted. ")
    monkeypatch.setenv("PODIUM_EPHEMERAL", "true")
    for profile in Profile:
        assert promotion_problem([registered(profile=profile.value)], 7) == ""


def test_a_registry_is_ephemeral_only_if_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PODIUM_EPHEMERAL", raising=False)
    assert not registry_is_ephemeral()
    for said, meant in (("", False), ("false", False), ("False", False), ("true", True), ("True", True)):
        monkeypatch.setenv("PODIUM_EPHEMERAL", said)
        assert registry_is_ephemeral() is meant
    monkeypatch.setenv("PODIUM_EPHEMERAL", "yes")
    with pytest.raises(PodiumError, match="PODIUM_EPHEMERAL is 'yes'; allowed: true, .* false"):
        registry_is_ephemeral()


def test_a_profile_that_the_model_file_does_not_have_is_named(spec: ModelSpec, toy_file: ToyFile) -> None:
    assert (
        named_profile(None, spec.profiles, spec.name) is named_profile("", spec.profiles, spec.name) is None
    )
    assert named_profile("smoke", spec.profiles, spec.name) is Profile.SMOKE
    with pytest.raises(PodiumError, match="profile: no profile 'ci'; allowed: ci-smoke, smoke"):
        named_profile("ci", spec.profiles, spec.name)
    with pytest.raises(PodiumError, match="no profile 'smoke'; allowed: none; the model file's key profiles"):
        named_profile("smoke", load_spec(toy_file()).profiles, spec.name)


def window_of(rows: int, held_out: int, groups: int) -> DataWindow:
    def examples(count: int, start: int) -> TrainingExamples:
        place = pd.RangeIndex(count)
        return TrainingExamples(
            inputs=pd.DataFrame({"x": [float(start + row) for row in range(count)]}),
            label=pd.Series(["a"] * count, index=place),
            time=pd.Series(pd.date_range("2024-01-01", periods=count), index=place),
            others=pd.DataFrame({"list": [row % groups for row in range(count)]}, index=place),
        )

    as_of = (pd.Timestamp("2024-01-01") + pd.Timedelta(days=rows + 100)).to_pydatetime()
    return DataWindow("v", examples(rows, 0), examples(held_out, rows), as_of, DataReport(*[0] * 7))


@given(rows=st.integers(0, 3000), held_out=st.integers(0, 1500), share=st.floats(0.0001, 1))
def test_each_side_keeps_its_share_but_at_least_so_many_rows(rows: int, held_out: int, share: float) -> None:
    spec = THIN_SPEC
    window = window_of(rows, held_out, 1)
    less = thinned(spec, window, share)
    validation = int(validation_rows(spec, window).sum())
    validation_now = int(validation_rows(spec, less).sum())
    for before, after in (
        (rows - validation, len(less.train) - validation_now),
        (validation, validation_now),
        (held_out, len(less.holdout)),
    ):
        assert after == min(before, max(FEWEST_ROWS, math.ceil(share * before)))
    kept = less.train.inputs["x"].to_list()
    assert kept == sorted(set(kept))
    assert set(thinned(spec, window, share / 2).train.inputs["x"]) <= set(kept)


THIN: dict[str, Any] = {
    "name": "thin",
    "owner": "tests",
    "description": "A toy.",
    "trainer": "support.toy_trainer:train",
    "task": "classification",
    "labels": ["a", "b"],
    "data": {"source": "toy.csv", "time_column": "day", "label": "y", "inputs": ["x"]},
    "holdout": {"days": 100},
    "params": {"strength": 1.0},
    "search": {**SEARCH, "validation": {"days": 400}},
    "requirements": ["scikit-learn"],
    "gates": GATES,
    "approval": {"approvers": ["amy"]},
}
THIN_SPEC = ModelSpec.model_validate(THIN)


def test_the_lists_of_a_ranking_stay_whole() -> None:
    ranking = {**THIN, "task": "ranking", "gates": GATES, "data": {**THIN["data"], "group": "list"}}
    del ranking["labels"], ranking["search"]
    less = thinned(ModelSpec.model_validate(ranking), window_of(3000, 1500, 100), 0.1)
    for part, rows in ((less.train, 30), (less.holdout, 15)):
        assert set(part.others["list"].value_counts()) == {rows}
        assert len(part) in (300, 200, 210)


def test_a_ci_smoke_run_ends_after_its_gates_on_record_and_its_version_bears_the_alias(
    services: Services, spec: ModelSpec
) -> None:
    run, name = new_run(), spec.name
    with pytest.raises(Refused, match=f"{name} v1 is a ci-smoke version: toy data, wiring only, never"):
        judge_and_nominate(services, spec, Profile.CI_SMOKE, run)
    assert outcome_of(services, name, run, {}).kind is RunOutcome.ONLY_A_PROFILE
    events = services.ledger.history(name)
    assert [event.event for event in events] == ["registered", "gates_passed", "nomination_refused"]
    assert events[0].details["profile"] == "ci-smoke"
    assert events[0].reason == "trained as of 2025-06-01, profile ci-smoke"
    assert "wiring only" in events[-1].reason
    assert [result.kind for result in validate.replay_gates(services, spec, 1).results] == [
        "contract",
        "min_holdout_rows",
    ]
    assert services.registry.aliases(name) == {"ci-smoke": 1}
    version = services.registry.version(name, 1)
    assert version.tags[Tag.PROFILE] == "ci-smoke"
    assert version.tags[Tag.TRAINED_ON].endswith("(280 rows)")
    assert alias_differences(services, name) == []
    found = next(status for status in model_statuses(services) if status.model == name)
    assert found.as_json()["profiles"] == {"ci-smoke": 1}

    text = mlflow.artifacts.load_text(f"runs:/{version.run_id}/{ARTIFACT}")
    assert "**A ci-smoke version: toy data, wiring only, never promoted.** Trained on a sample: 0.1%" in text
    assert "- Search: best of 2 trials: trial " in text

    # Cleared and run again, nothing changes.
    with pytest.raises(Refused):
        judge_and_nominate(services, spec, Profile.CI_SMOKE, run)
    assert services.ledger.history(name) == events
    with pytest.raises(NotFound, match="holds no nomination"):
        approval.open_request(services, spec.approval, name, run)


def test_aliases_of_profiles_follow_their_newest_runs_and_no_other_alias_does(
    services: Services, spec: ModelSpec
) -> None:
    name = spec.name
    champion = promote_as_of(services, spec, FIRST).version
    small = register(services, spec, Profile.CI_SMOKE, new_run())
    newer = register(services, spec, Profile.CI_SMOKE, new_run(), SECOND)
    smoke = register(services, spec, Profile.SMOKE, new_run())
    assert len({champion, small, newer, smoke}) == 4
    aliases = {"champion": champion, "ci-smoke": newer, "smoke": smoke}
    assert services.registry.aliases(name) == aliases
    run = new_run()
    with pytest.raises(Refused):
        judge_and_nominate(services, spec, Profile.CI_SMOKE, run)
    assert services.registry.aliases(name) == {**aliases, "ci-smoke": small}
    services.registry.set_alias(name, Alias.SMOKE, small)
    services.registry.delete_alias(name, Alias.CI_SMOKE)
    assert len(alias_differences(services, name)) == 2
    look(services, spec)
    assert services.registry.aliases(name) == {**aliases, "ci-smoke": small}


def test_profiles_and_full_runs_are_other_inputs_and_a_full_version_has_no_profile(
    services: Services, spec: ModelSpec
) -> None:
    runs = {profile: trained(services, spec, profile) for profile in (None, *Profile)}
    assert len(set(runs.values())) == 3
    assert trained(services, spec, Profile.SMOKE) == runs[Profile.SMOKE]
    trials = {
        profile: raw(services.registry).get_run(run).data.metrics["search.trials"]
        for profile, run in runs.items()
    }
    assert trials == {None: 4, Profile.CI_SMOKE: 2, Profile.SMOKE: 3}
    number = register(services, spec, None, new_run())
    event = history.registration(services.ledger.history(spec.name), number)
    assert event is not None
    assert "profile" not in event.details
    assert Tag.PROFILE not in services.registry.version(spec.name, number).tags


def test_tags_in_mlflow_make_no_profile_version_a_full_one(services: Services, spec: ModelSpec) -> None:
    run = new_run()
    mlflow_run = trained(services, spec, Profile.SMOKE)
    for tag in ("podium.profile", "profile"):
        raw(services.registry).set_tag(mlflow_run, tag, "full")
    number = register_module.register_version(services, spec, mlflow_run, run)
    services.registry.delete_tags(spec.name, number, [Tag.PROFILE])
    validate.validate_version(services, spec, number, run)
    with pytest.raises(Refused, match="is a smoke version: a trial of the lifecycle on real data, never"):
        nominate_module.nominate_version(services, spec.name, run)
    assert services.registry.version(spec.name, number).tags[Tag.PROFILE] == "smoke"


def test_where_the_registry_is_thrown_away_a_profile_goes_all_the_way(
    services: Services, spec: ModelSpec, ephemeral: None
) -> None:
    run = new_run()
    number = judge_and_nominate(services, spec, Profile.CI_SMOKE, run)
    assert services.registry.aliases(spec.name) == {"ci-smoke": number, "candidate": number}
    request = approval.open_request(services, spec.approval, spec.name, run)
    shown = approval_card.body(services, spec, request, approval_card.Pages("answers.svg", "decision"))
    assert (
        "**A ci-smoke version: toy data, wiring only** (0.1% of the examples, at least 200 a side, 2 tri"
        in shown
    )
    assert "| profile | ci-smoke |" in shown
    decide(services, spec, run)
    assert promote(services, spec, run).version == number
    assert services.registry.aliases(spec.name) == {"ci-smoke": number, "champion": number}


def test_an_approval_given_where_the_registry_was_thrown_away_promotes_nothing_where_it_stays(
    services: Services, spec: ModelSpec, ephemeral: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    judge_and_nominate(services, spec, Profile.CI_SMOKE, run)
    decide(services, spec, run)
    monkeypatch.delenv("PODIUM_EPHEMERAL")
    with pytest.raises(ProfileOnly, match="is a ci-smoke version"):
        promote(services, spec, run)
    assert services.ledger.history(spec.name)[-1].event is EventKind.PROMOTION_REFUSED
    assert services.registry.champion(spec.name) is None


def test_neither_an_approver_nor_mlflow_makes_a_profile_version_champion(
    services: Services, spec: ModelSpec
) -> None:
    champion = promote_as_of(services, spec, FIRST).version
    number = register(services, spec, Profile.SMOKE, new_run())
    with pytest.raises(CannotRollBack, match="is a smoke version"):
        roll_back(services, spec, number)
    request = champion_module.rollback_request(
        spec.name, number, asks=Person("amy"), reason="because I say so", run=new_run()
    )
    with pytest.raises(CannotRollBack, match="is a smoke version"):
        champion_module.rollback(
            services,
            champion_module.force_version(request, spec.approval, Person("amy")),
            asked_now(),
        )
    services.registry.set_alias(spec.name, Alias.CHAMPION, number)
    look(services, spec)
    accept = settle.settle_request(
        spec, settle.Settlement.ACCEPT, asks=Person("amy"), reason="because I say so", run=new_run()
    )
    with pytest.raises(ProfileOnly, match="is a smoke version: .* Revert the champion"):
        settle.settle(services, spec, accept, asked_now())
    assert history.champion(services.ledger.history(spec.name)) == champion


def test_a_run_that_a_form_names_keeps_its_profile_and_takes_no_other(
    services: Services, spec: ModelSpec
) -> None:
    mlflow_run = trained(services, spec, Profile.SMOKE)
    form = {"mlflow_run": mlflow_run, "version": None, "profile": None}
    assert register_module.run_to_take(services, spec.name, form) == mlflow_run
    with pytest.raises(PodiumError, match=f"names run {mlflow_run} and profile smoke; give one of them"):
        register_module.run_to_take(services, spec.name, {**form, "profile": "smoke"})
    with pytest.raises(NotFound):
        register_module.run_to_take(services, spec.name, {**form, "mlflow_run": uuid.uuid4().hex})


def test_without_a_profile_nothing_is_less(services: Services, spec: ModelSpec, tmp_path: Path) -> None:
    run = new_run()
    nominate(services, spec, FIRST, run)
    assert len(load_window(spec, FIRST, tmp_path).train) == 417
    assert services.registry.aliases(spec.name) == {"candidate": 1}
