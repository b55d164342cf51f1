"""What Podium reads of an Airflow run: its form, who asked for it and when."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest


@pytest.fixture(scope="module")
def seen(run_script: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What ``ask_of_runs.py`` saw."""
    return run_script("ask_of_runs.py")


def test_a_key_that_the_form_does_not_have_is_named_with_the_one_that_was_meant(seen: dict[str, Any]) -> None:
    assert (seen["form"]["none"], seen["form"]["known"]) == ("", "")
    assert seen["form"]["unknown"] == (
        "lifecycle_soccer_match_outcome: unknown key 'verison'; did you mean 'version'? allowed: as_of, "
        "mlflow_run, params, profile, version"
    )
    assert seen["form"]["without a form"] == "reconcile: unknown key 'version'; allowed: nothing"
    assert "characters as JSON, at most 10,000 are allowed" in seen["form"]["long"]


def test_no_task_works_for_a_run_with_a_wrong_form(seen: dict[str, Any]) -> None:
    refusing = seen["refusing"]
    lifecycle = {"train", "register", "validate", "nominate", "promote", "announce", "note_announced"}
    assert set(refusing["lifecycle_soccer_match_outcome"]) == lifecycle
    assert refusing["rollback_champion"] == ["announce", "move_champion_back", "note_announced"]
    assert refusing["settle_champion"] == ["announce", "note_announced", "settle"]
    assert refusing["adopt_model"] == ["adopt", "announce", "note_announced"]
    assert refusing["hold_version"] == ["hold"]
    assert refusing["retire_model"] == ["retire"]
    assert refusing["retention"] == ["choose_models", "let_go", "proposals"]
    assert refusing["propose_removal"] == ["remove"]
    assert refusing["reconcile"] == ["compare_with_ledger", "note_announced"]
    assert {"resolve", "score"} <= set(refusing["score_bug_severity_clf"])


def test_what_was_left_empty_was_not_asked_for(seen: dict[str, Any]) -> None:
    assert seen["asked_for"] == {"version": 3}


def test_what_is_no_moment_is_refused_by_name(seen: dict[str, Any]) -> None:
    moments = seen["moments"]
    assert moments.pop("2025-06-01T00:00:00Z") == "2025-06-01T00:00:00+00:00"
    for text, said in moments.items():
        assert said.startswith(f"as_of '{text}' is not a moment such as 2025-06-01T00:00:00Z: ")


def test_only_a_run_of_a_backfill_that_was_cleared_may_have_been_started_again(seen: dict[str, Any]) -> None:
    again = [name for name, answer in seen["started_again"].items() if answer]
    assert again == ["backfill, cleared 1 times"]


def test_who_asked_for_a_training_elsewhere_is_told_where_somebody_knows(seen: dict[str, Any]) -> None:
    assert seen["who is told"] == {
        "a person": "amy",
        "a schedule": "schedule of reconcile",
        "a backfill, cleared": None,
        "monitoring": "monitoring of soccer-match-outcome",
        "monitoring, over the API": None,
        "monitoring and another asset": None,
        "another asset": None,
        "nobody": None,
    }


def test_a_training_elsewhere_is_taken_and_only_a_task_is_believed_who_asked(seen: dict[str, Any]) -> None:
    assert (
        seen["taken"]
        .pop("without a run")
        .startswith("soccer-match-outcome: the asset trained was updated without an MLflow run; let the task")
    )
    assert seen["taken"] == {
        "one": ["first", "amy"],
        "the newest": ["second", "bo"],
        "over the API": ["first", None],
        "of no task": ["first", None],
        "by hand": None,
    }


def test_nobody_knows_when_a_cleared_run_was_asked_for(seen: dict[str, Any]) -> None:
    expected = {"as Airflow says": "2026-03-01T12:00:00+00:00", "cleared": None, "unknown": None}
    assert seen["queued"] == expected


def test_a_run_that_is_marked_as_queued_was_made_when_its_first_try_was(seen: dict[str, Any]) -> None:
    late = datetime.fromisoformat(seen["renewed"]) - datetime.fromisoformat(seen["made"])
    assert timedelta(0) < late < timedelta(seconds=60)


@pytest.fixture(scope="module")
def told(
    run_script: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What ``ask_airflow.py`` was told over Airflow's own REST API."""
    database = tmp_path_factory.mktemp("database") / "airflow.db"
    passwords = {
        f"PODIUM_{name}_PASSWORD": name for name in ("VIEWER", "OPERATOR", "APPROVER", "ADMIN", "LOOKUP")
    }
    return run_script(
        "ask_airflow.py",
        AIRFLOW__CORE__AUTH_MANAGER="podium_airflow.auth_manager.PodiumFabAuthManager",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{database}",
        AIRFLOW__API_AUTH__JWT_SECRET="a secret of this test alone, which is long enough for it",
        **passwords,
    )


def test_podiums_own_account_is_told_when_a_rollback_was_asked_for_until_it_is_cleared(
    told: dict[str, Any],
) -> None:
    assert (told["now"], told["ahead"]) == ("in time", "ahead of time")
    assert told["ahead, marked as queued"] == "ahead of time"
    assert (told["now, cleared"], told["ahead, cleared"]) == ("nobody knows", "nobody knows")


def test_podiums_own_account_is_told_which_runs_failed_and_when_the_next_is_due(told: dict[str, Any]) -> None:
    assert told["failed"] == {"an hour ago": [["rollback_champion", True, ""]], "later": []}
    assert told["next run"] == [0, True, None, False]


def test_channels_that_are_connections_of_airflow_are_found(
    run_script: Callable[..., dict[str, Any]],
) -> None:
    connection = {"conn_type": "apprise", "extra": {"config": {"path": "json://127.0.0.1/x"}}}
    found = run_script("ask_channels.py", AIRFLOW_CONN_PODIUM_NOTIFY_ML_TEAM=json.dumps(connection))
    assert found == {"ml-team": "json://127.0.0.1/x"}


def test_a_backfill_that_starts_a_run_again_leaves_the_name_of_who_asked_first(told: dict[str, Any]) -> None:
    assert told["backfill"] == ["admin", {}, False]
    # The operator's choice under the admin's name, which is why it is refused.
    assert told["another's backfill"] == ["admin", {"version": 9}, True]
