from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from podium.settings import PROJECT_ROOT
from support.elsewhere import ASSET, elsewhere_toy
from support.model_files import line_of
from support.toy import TOY

ParseDags = Callable[..., dict[str, Any]]
SHIPPED_MODEL = PROJECT_ROOT / "include" / "models" / "soccer_match_outcome.yaml"


def test_exactly_these_dags_are_there(shipped: dict[str, Any]) -> None:
    assert shipped["import_errors"] == {}
    assert sorted(shipped["dags"]) == [
        "adopt_model",
        "hold_version",
        "lifecycle_bug_severity_clf",
        "lifecycle_code_generation",
        "lifecycle_rossmann_ensemble",
        "lifecycle_soccer_match_outcome",
        "monitor_soccer_match_outcome",
        "notify",
        "propose_removal",
        "propose_rollback",
        "reconcile",
        "retention",
        "retire_model",
        "rollback_champion",
        "score_bug_severity_clf",
        "settle_champion",
        "watch_champion",
    ]


def test_parsing_is_light(shipped: dict[str, Any]) -> None:
    assert shipped["heavy"] == []
    assert shipped["connections"] == []
    assert shipped["warnings"] == []


def test_each_task_reads_the_form_and_none_has_a_copy(shipped: dict[str, Any]) -> None:
    for name, dag in shipped["dags"].items():
        asked = [{key: params[key] for key in dag["params"]} for params in dag["params_of_tasks"]]
        assert [params for params in asked if params != asked[0]] == [], name
        assert dag["copies_of_the_form"] == [], name
    lifecycle = shipped["dags"]["lifecycle_soccer_match_outcome"]["params_of_tasks"][0]
    assert lifecycle == {
        "as_of": None,
        "mlflow_run": None,
        "version": None,
        "params": {},
        "profile": "ci-smoke",
    }


def test_the_lifecycle_reads_as_the_story(shipped: dict[str, Any]) -> None:
    dag = shipped["dags"]["lifecycle_soccer_match_outcome"]
    assert dag["edges"] == sorted(
        [
            "train >> register",
            "register >> validate",
            "validate >> nominate",
            "nominate >> approve",
            "approve >> promote",
            "promote >> announce",
            "announce >> note_announced",
            "note_announced >> outcome",
        ]
    )
    assert len(dag["tasks"]) <= 10
    # It runs at each end of a run, and no end is another one because of it.
    assert dag["teardowns"] == ["outcome"]
    assert dag["display_name"] == "soccer-match-outcome lifecycle"
    assert dag["outlets"] == ["champion of soccer-match-outcome"]
    assert dag["schedule"] == "0 6 * * 1"
    assert dag["catchup"] is False
    assert dag["params"] == ["as_of", "mlflow_run", "params", "profile", "version"]
    assert dag["fileloc"] == "lifecycle.py"


def test_the_first_scheduled_run_is_the_next_one_also_just_after_the_last_tick(
    shipped: dict[str, Any],
) -> None:
    assert shipped["days_to_first_run"] == 6


def test_a_model_file_with_a_ramp_has_a_task_more_before_the_promotion(
    parse_dags: ParseDags, tmp_path: Path
) -> None:
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump({**TOY, "ramp": {"steps": [5, 50]}}))
    dag = parse_dags(tmp_path)["dags"]["lifecycle_toy"]
    assert {"approve >> ramp", "ramp >> promote"} <= set(dag["edges"])
    assert "approve >> promote" not in dag["edges"]
    assert len(dag["tasks"]) == 10


def test_the_rollback_is_manual_and_asks_for_model_version_and_reason(shipped: dict[str, Any]) -> None:
    dag = shipped["dags"]["rollback_champion"]
    assert dag["edges"] == ["announce >> note_announced", "move_champion_back >> announce"]
    assert dag["params"] == ["force_version", "model", "reason", "to_version"]
    assert dag["schedule"] is None


def test_a_model_file_with_a_scoring_section_has_a_dag_that_scores(shipped: dict[str, Any]) -> None:
    dag = shipped["dags"]["score_bug_severity_clf"]
    assert dag["edges"] == ["resolve >> score", "score >> announce"]
    assert dag["outlets"] == ["scores of bug-severity-clf", "scores of bug-severity-clf, by partition"]
    assert dag["params"] == ["allow_rolled_back", "partitions", "version"]
    assert dag["display_name"] == "bug-severity-clf scoring"
    assert (dag["schedule"], dag["catchup"], dag["owners"]) == (None, False, ["quality-engineering"])


def test_a_model_file_with_a_monitoring_section_has_a_dag_that_may_start_its_lifecycle(
    shipped: dict[str, Any],
) -> None:
    dag = shipped["dags"]["monitor_soccer_match_outcome"]
    assert dag["edges"] == ["announce >> note_announced", "judge >> announce", "judge >> picture"]
    assert dag["outlets"] == ["retraining of soccer-match-outcome"]
    assert (dag["schedule"], dag["catchup"], dag["owners"]) == ("0 0 1 * *", False, ["football-analytics"])
    started = {name: found["started_by"] for name, found in shipped["dags"].items() if found["started_by"]}
    assert started == {"lifecycle_soccer_match_outcome": ["retraining of soccer-match-outcome"]}


def test_every_dag_has_an_owner_tags_docs_and_retries(shipped: dict[str, Any]) -> None:
    for dag in shipped["dags"].values():
        assert "airflow" not in dag["owners"]
        assert "podium" in dag["tags"]
        assert len(dag["doc"]) > 100
        assert all(retries >= 2 for retries in dag["retries"].values())
    # Each answer that Airflow loses costs the approval one retry.
    assert shipped["dags"]["lifecycle_soccer_match_outcome"]["retries"]["approve"] == 100


def test_champions_are_compared_with_the_ledger_every_five_minutes(shipped: dict[str, Any]) -> None:
    dag = shipped["dags"]["reconcile"]
    assert dag["schedule"] == "*/5 * * * *"
    assert dag["edges"] == ["compare_with_ledger >> note_announced"]
    assert dag["outlets"] == ["champion_moves", "champion_moves_outside"]
    assert all(retries < 5 for retries in dag["retries"].values())


def test_windows_are_judged_after_each_promotion_of_a_watched_model(
    shipped: dict[str, Any], parse_dags: ParseDags, tmp_path: Path
) -> None:
    dag = shipped["dags"]["watch_champion"]
    assert dag["schedule"] is None, "no shipped model is watched"
    assert dag["edges"] == [
        "announce >> note_announced",
        "judge >> announce",
        "judge >> others",
        "judge >> proposals",
        "others >> again",
        "proposals >> ask",
    ]
    assert dag["outlets"] == ["champion_moves"]
    text = SHIPPED_MODEL.read_text()
    (tmp_path / SHIPPED_MODEL.name).write_text(f"{text}\nwatch: {{auto_rollback: on}}\n")
    watched = parse_dags(tmp_path)["dags"]["watch_champion"]
    assert watched["started_by"] == ["champion of soccer-match-outcome"]


def test_a_proposed_rollback_is_decided_before_it_is_done(shipped: dict[str, Any]) -> None:
    dag = shipped["dags"]["propose_rollback"]
    assert dag["edges"] == ["announce >> note_announced", "approve >> roll_back", "roll_back >> announce"]
    assert (dag["schedule"], dag["params"]) == (None, [])


def test_what_an_emergency_needs_is_never_born_paused(shipped: dict[str, Any]) -> None:
    born_running = {name for name, dag in shipped["dags"].items() if dag["paused_at_creation"] is False}
    emergencies = {"rollback_champion", "settle_champion", "watch_champion", "propose_rollback"}
    by_hand = {"adopt_model", "hold_version", "propose_removal", "retire_model"}
    assert born_running == {"notify", "reconcile"} | emergencies | by_hand


def test_old_versions_go_once_a_week_and_only_where_somebody_let_the_dag_run(shipped: dict[str, Any]) -> None:
    dag = shipped["dags"]["retention"]
    assert (dag["schedule"], dag["catchup"], dag["paused_at_creation"]) == ("30 2 * * 0", False, True)
    assert dag["edges"] == [
        "choose_models >> let_go",
        "choose_models >> proposals",
        "proposals >> ask",
        "proposals >> let_go",
    ]
    assert dag["params"] == ["model"]
    asks = shipped["dags"]["propose_removal"]
    assert (asks["edges"], asks["schedule"], asks["params"]) == (["approve >> remove"], None, [])
    assert shipped["dags"]["hold_version"]["params"] == ["model", "reason", "version", "what"]
    assert shipped["dags"]["retire_model"]["params"] == ["model", "reason", "what"]


def test_nobody_is_told_on_a_schedule_unless_a_channel_is_configured(
    shipped: dict[str, Any], parse_dags: ParseDags, tmp_path: Path
) -> None:
    assert shipped["dags"]["notify"]["schedule"] is None
    configured = parse_dags(tmp_path, PODIUM_NOTIFY_CHANNELS='{"team": "json://127.0.0.1/"}')
    assert configured["dags"]["notify"]["schedule"] == "* * * * *"


def test_settling_asks_for_model_settlement_and_reason(shipped: dict[str, Any]) -> None:
    dag = shipped["dags"]["settle_champion"]
    assert dag["edges"] == ["announce >> note_announced", "settle >> announce"]
    assert dag["params"] == ["model", "reason", "settlement"]
    assert dag["schedule"] is None


def test_adopting_asks_for_model_champion_and_reason(shipped: dict[str, Any]) -> None:
    dag = shipped["dags"]["adopt_model"]
    assert dag["edges"] == ["adopt >> announce", "announce >> note_announced"]
    assert dag["params"] == ["champion", "from_stage", "model", "reason"]
    assert (dag["schedule"], dag["outlets"]) == (None, ["champion_moves", "champion_moves_outside"])


def test_a_model_that_is_trained_elsewhere_starts_with_that_asset_and_by_its_schedule(
    parse_dags: ParseDags, tmp_path: Path
) -> None:
    content = elsewhere_toy(schedule="0 6 * * 1", monitoring={"windows": "@weekly", "tolerance": 0.1})
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content))
    dag = parse_dags(tmp_path)["dags"]["lifecycle_toy"]
    assert (dag["started_by"], dag["schedule"]) == ([ASSET], "0 6 * * 1")


def test_a_wrong_model_file_is_an_import_error_and_stops_no_other_model(
    parse_dags: ParseDags, tmp_path: Path
) -> None:
    shutil.copy(SHIPPED_MODEL, tmp_path)
    wrong = (
        SHIPPED_MODEL.read_text()
        .replace("name: soccer-match-outcome", "name: second")
        .replace("threshold: 0.95", "treshold: 0.95")
    )
    (tmp_path / "second.yaml").write_text(wrong)
    found = parse_dags(tmp_path)
    assert "lifecycle_soccer_match_outcome" in found["dags"]
    assert list(found["import_errors"]) == ["check_model_files.py"]
    message = found["import_errors"]["check_model_files.py"]
    line = line_of(tmp_path / "second.yaml", "treshold")
    expected = f"second.yaml: line {line}: gates[5].treshold: unknown key; did you mean 'threshold'?"
    assert f"{tmp_path}/{expected}" in message


def test_a_folder_without_models_is_no_error(parse_dags: ParseDags, tmp_path: Path) -> None:
    found = parse_dags(tmp_path)
    assert found["import_errors"] == {}
    assert sorted(found["dags"]) == [
        "adopt_model",
        "hold_version",
        "notify",
        "propose_removal",
        "propose_rollback",
        "reconcile",
        "retention",
        "retire_model",
        "rollback_champion",
        "settle_champion",
        "watch_champion",
    ]


def test_a_task_builds_no_dag_of_another_model(run_script: Callable[..., dict[str, Any]]) -> None:
    # What Airflow tells a Dag file that is read for a task of the first Dag.
    found = run_script("parse_dags.py", _AIRFLOW_PARSING_CONTEXT_DAG_ID="lifecycle_bug_severity_clf")
    of_models = [dag_id for dag_id in found["dags"] if dag_id.startswith(("lifecycle_", "score_"))]
    assert of_models == ["lifecycle_bug_severity_clf"]
    assert found["import_errors"] == {}


def test_whatever_one_file_holds_the_dags_of_the_others_parse(
    run_script: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY))
    found = run_script("odd_files.py", PODIUM_MODELS_DIR=str(tmp_path))
    assert found["tried"] >= 10
    assert found["accepted"] >= 1
