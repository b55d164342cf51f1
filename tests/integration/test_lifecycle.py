"""The whole lifecycle on real Airflow, MLflow, Postgres and S3."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import PodiumError
from podium.model_file.loading import find_spec
from podium.names import Tag
from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.stack import demo
from podium.stack.running_stack import Stack
from support.airflow import (
    LifecycleRun,
    event_of,
    events_of,
    get,
    send,
    wait_for,
    wait_for_event,
    wait_for_run,
)
from support.answering import answering
from support.command_line import commands_of, podium
from support.mlflow_client import raw
from support.model_files import line_of
from support.places import MODELS, TRAINERS
from support.serving import serving, versions_that_answer
from support.toy import SCHEDULED_HOUR

Start = Callable[..., LifecycleRun]
STORY = ["registered", "gates_passed", "nominated", "approval_requested", "approval_given", "approved"]
STORY += ["promotion_started", "promoted"]
TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def runs(start: Start) -> dict[str, LifecycleRun]:
    """Runs that do not touch each other, begun together; they come as far as they can while the demo runs."""
    begun = {model: start(model) for model in ("toy-reject", "toy-expire", "toy-refused")}
    return {**begun, "toy": start("toy", as_of=str(TODAY - timedelta(days=20)))}


def podium_together(stack: Stack, *commands: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
    """Run commands beside each other: each takes seconds to start. They only read."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda words: podium(stack, *words), commands))


def test_the_demo_tells_the_whole_story_on_the_football_data(
    stack: Stack,
    runs: dict[str, LifecycleRun],
    admin: AirflowClient,
    stack_services: Services,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = find_spec(MODELS, demo.MODEL)
    records = [dict.fromkeys(spec.data.inputs, 1.0)]
    with (
        serving(stack_services, demo.MODEL, poll_seconds=2) as server,
        versions_that_answer(server, records) as served,
    ):
        demo._tell_the_story(stack, spec, demo.Demo())
        server.wait_for_version(1)
        time.sleep(1)
    assert served == [1, 2, 1]
    events = [event for event, _, _ in events_of(stack_services, demo.MODEL)]
    assert events == [*STORY, *STORY, "rollback_started", "rolled_back"]
    assert stack_services.registry.aliases(demo.MODEL) == {"champion": 1}
    as_of = {
        version.number: version.tags[Tag.AS_OF][:10]
        for version in stack_services.registry.versions(demo.MODEL)
    }
    assert as_of == {1: "2024-07-01", 2: "2025-07-01"}
    assert event_of(stack_services, demo.MODEL, "rolled_back").actor == "operator"
    promoted = [event for event in stack_services.ledger.history(demo.MODEL) if event.event == "promoted"]
    assert [event.actor for event in promoted] == ["approver", "approver"]
    moves = get(admin, "/api/v2/assets/events?limit=100&order_by=timestamp")["asset_events"]
    told = [
        (move["source_dag_id"], move["extra"]["version"])
        for move in moves
        if move["extra"].get("model") == demo.MODEL
    ]
    lifecycle = spec.lifecycle_dag_id
    assert told == [(lifecycle, 1), (lifecycle, 2), ("rollback_champion", 1)]
    shown = capsys.readouterr().out
    assert "waits for a person" in shown
    assert "v1 → v2" in shown
    assert "Verified:" in shown
    assert "Warning" not in shown


def stack_secrets(stack: Stack) -> list[str]:
    told = stack.client_env()
    passwords = [value for name, value in told.items() if name.endswith("PASSWORD")]
    ledger = [told["PODIUM_LEDGER_URL"], told["PODIUM_LEDGER_SERVER_URL"]]
    return [*passwords, *(str(make_url(url).password) for url in ledger), *stack.passwords.values()]


def test_the_command_line_tells_the_same(stack: Stack) -> None:
    done, past, shown, verified, wrong, examined = podium_together(
        stack,
        ("status", "--json"),
        ("history", demo.MODEL, "--at", "2020-01-01"),
        ("status",),
        ("verify",),
        ("history", "socer"),
        ("doctor", "--json"),
    )
    assert done.returncode == 0, done.stderr
    status = {item["model"]: item for item in json.loads(done.stdout)}
    football = status[demo.MODEL]
    assert (football["champion"], football["candidate"], football["previous_champion"]) == (1, None, None)
    assert football["newest_version"] == 2
    done = podium(stack, "history", demo.MODEL, "--json")
    events = json.loads(done.stdout)
    assert {"seq", "at", "event", "model", "version", "from_version", "actor", "reason"} <= set(events[0])
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    promoted = next(event for event in events if event["event"] == "promoted" and event["version"] == 2)
    done = podium(stack, "history", demo.MODEL, "--at", promoted["at"])
    assert "the champion of soccer-match-outcome was v2" in " ".join(done.stdout.split())
    assert "no champion" in past.stdout
    assert "champion" in shown.stdout
    assert "live aliases match the ledger" in verified.stdout
    found = {finding["part"]: finding for finding in json.loads(examined.stdout)["findings"]}
    assert {
        part: finding["observed"] for part, finding in found.items() if finding["state"] == "problem"
    } == {}
    parts = ["ledger", "ledger schema", "ledger role", "model server's role", "ledger password", "mlflow"]
    parts += [
        "mlflow login",
        "mlflow artifacts",
        "airflow",
        "airflow scheduler",
        "airflow dag-processor",
        "clocks",
    ]
    others = {part: found[part] for part in [*parts, f"champion of {demo.MODEL}"]}
    assert {part: finding for part, finding in others.items() if finding["state"] != "ok"} == {}
    assert not [secret for secret in stack_secrets(stack) if secret in examined.stdout + examined.stderr]
    assert wrong.returncode == 1
    assert "no model 'socer'; available: bug-severity-clf, churn, " in wrong.stderr
    assert ", rossmann-ensemble, soccer-match-outcome, " in wrong.stderr


def test_a_ci_smoke_run_of_football_searches_in_nested_runs_and_is_never_promoted(
    start: Start, stack: Stack, stack_services: Services
) -> None:
    champion = stack_services.registry.champion(demo.MODEL)
    run = start(demo.MODEL, as_of="2025-07-01", profile="ci-smoke")
    assert run.wait_for_end() == "success"
    assert "soccer-match-outcome v3 is a ci-smoke version" in run.note()
    refused = event_of(stack_services, demo.MODEL, "nomination_refused")
    assert (refused.version, refused.run) == (3, run.reference)
    assert "soccer-match-outcome v3 is a ci-smoke version: toy data, wiring only" in refused.reason
    assert stack_services.registry.aliases(demo.MODEL) == {"champion": champion, "ci-smoke": 3}
    trained = {version.number: version.run_id for version in stack_services.registry.versions(demo.MODEL)}
    for number, trials in ((3, 2), (2, 8)):
        query = f"tags.mlflow.parentRunId = '{trained[number]}' and attributes.status = 'FINISHED'"
        experiment = stack_services.registry.experiment_id(trained[number])
        assert len(raw(stack_services.registry).search_runs([experiment], query)) == trials
        kept = raw(stack_services.registry).list_artifacts(trained[number], "search")
        assert {"search/history.png", "search/params.png"} <= {item.path for item in kept}
    done, shown = podium_together(stack, ("verify",), ("status",))
    assert "live aliases match the ledger" in done.stdout
    assert "ci-smoke v3" in shown.stdout


def test_every_podium_command_of_the_documents_runs(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").rglob("*.md")]
    # Followed by test_families, test_bring_your_own and test_retention; in tests/scenarios by test_sources
    # and test_add_a_model; in tests/unit by test_new_model, test_serve_command and test_copy_version.
    followed = ("add-a-model", "batch-scoring", "serving", "dev-to-prod", "adopt", "retention")
    for followed_elsewhere in (*followed, "training-data", "frameworks"):
        documents.remove(PROJECT_ROOT / "docs" / f"{followed_elsewhere}.md")
    typed = [shlex.split(command, comments=True) for command in commands_of(*documents)]
    commands = list(dict.fromkeys(map(tuple, typed)))
    assert len(commands) >= 10
    (tmp_path / "include").symlink_to(PROJECT_ROOT / "include")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(TRAINERS.parent)
    for name, value in {**stack.client_env(), "PODIUM_MODELS_DIR": str(MODELS)}.items():
        monkeypatch.setenv(name, value)
    with answering({"/hook": 200}) as hook:
        team = f"{hook.replace('http', 'json')}/hook"
        monkeypatch.setenv("PODIUM_NOTIFY_CHANNELS", json.dumps({"team": team}))
        for words in commands:
            # In this process: most of a command's time it loads MLflow.
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, f"podium {shlex.join(words)}: {done.output}"


def test_the_task_logs_can_be_read(stack: Stack) -> None:
    logs = [
        log
        for dag_id in ("lifecycle_soccer_match_outcome", "rollback_champion")
        for log in sorted(stack.logs.rglob(f"dag_id={dag_id}/*/task_id=*/attempt=*.log"))
    ]
    tasks = {log.parent.name.removeprefix("task_id=") for log in logs}
    assert {"train", "register", "validate", "nominate", "approve", "promote", "move_champion_back"} <= tasks
    for log in logs:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert len(lines) < 40, f"{log} has {len(lines)} lines"
        loud = [line["event"] for line in lines if line["level"] not in ("debug", "info")]
        # So Airflow's own client says that the machine stood still for half a minute, as shared ones do.
        loud = [event for event in loud if not event.startswith("Starting call to 'airflow.sdk")]
        assert loud == [], log
    assert any("candidate on the holdout: log_loss 0.8" in log.read_text() for log in logs)


def test_an_answer_that_does_not_count_is_asked_again(
    start: Start, operator: AirflowClient, approver: AirflowClient, stack_services: Services
) -> None:
    run = start("toy-hasty")
    run.wait_until("approve", "awaiting_input")
    # At once: the scheduler may lose it, but neither passes nor fails the run.
    assert "0 letters and digits, at least 10 are required" in run.answer_in_vain(approver, "Approve", None)
    deadline = time.monotonic() + 60
    while run.task_states()["approve"] == "awaiting_input" and time.monotonic() < deadline:
        time.sleep(0.2)
    run.wait_until("approve", "awaiting_input")
    time.sleep(2)
    with pytest.raises(PodiumError, match="403"):
        run.answer(operator, "Approve", "I would like it to be approved")
    told = run.answer_in_vain(approver, "Approve", "short")
    assert "5 letters and digits, at least 10 are required. Nothing was decided" in told
    wait_for_event(stack_services, "toy-hasty", "answer_invalid")
    assert stack_services.registry.champion("toy-hasty") is None
    run.approve(approver)
    assert run.wait_for_end() == "success"
    assert stack_services.registry.champion("toy-hasty") == 1
    invalid = [
        event for event in stack_services.ledger.history("toy-hasty") if event.event == "answer_invalid"
    ]
    assert invalid[-1].actor == "approver"
    assert "the reason has 5 letters and digits, at least 10 are required" in invalid[-1].reason
    event_of(stack_services, "toy-hasty", "approved")
    event_of(stack_services, "toy-hasty", "promoted")


def slots_in_use(client: AirflowClient) -> tuple[int, int, int]:
    pool = get(client, "/api/v2/pools/default_pool")
    return pool["occupied_slots"], pool["running_slots"], pool["deferred_slots"]


def test_waiting_holds_no_worker_slot_and_no_trigger_and_a_rejection_ends_cleanly(
    runs: dict[str, LifecycleRun], admin: AirflowClient, approver: AirflowClient, stack_services: Services
) -> None:
    run = runs["toy-reject"]
    run.wait_until("approve", "awaiting_input")
    time.sleep(2)
    # Tasks of other runs give theirs back; the one that waits never would.
    wait_for(lambda: not any(slots_in_use(admin)), "no slot in use")
    assert run.task_states()["approve"] == "awaiting_input"
    task = get(admin, f"/api/v2/dags/{run.spec.lifecycle_dag_id}/dagRuns/{run.run_id}/taskInstances/approve")
    assert task["trigger"] is None
    action = approver.required_action(run.spec.lifecycle_dag_id, run.run_id, "approve")
    assert action["subject"] == "Promote toy-reject v1 to champion, the first champion?"
    for shown in (
        "(100 rows)",
        "log_loss at most 0.69",
        "class_prior",
        "trained on",
        "git commit",
        "/#/models/toy-reject",
    ):
        assert shown in action["body"]
    run.answer(approver, "Reject", "too early in the season")
    assert run.wait_for_end() == "success"
    assert ": rejected by approver: too early in the season" in run.note()
    rejected = event_of(stack_services, "toy-reject", "rejected")
    assert (rejected.actor, rejected.reason) == ("approver", "too early in the season")
    assert stack_services.registry.aliases("toy-reject") == {}
    assert stack_services.registry.version("toy-reject", 1).tags[Tag.APPROVAL_STATUS] == "rejected"


def test_the_best_run_is_nominated_through_the_same_gates_and_approval(
    stack: Stack, operator: AirflowClient, stack_services: Services
) -> None:
    login = {"PODIUM_AIRFLOW_USER": "operator", "PODIUM_AIRFLOW_PASSWORD": stack.passwords["operator"]}
    (trained,) = stack_services.registry.training_runs("toy-reject", 10)
    done = podium(stack, "compare", "toy-reject", "--runs", "--nominate-best", **login)
    assert done.returncode == 0, done.stderr
    spec = find_spec(MODELS, "toy-reject")
    found = re.search(rf"Started {spec.lifecycle_dag_id} (\S+) with {trained.run_id[:8]}", done.stdout)
    assert found is not None, done.stdout
    run = LifecycleRun(operator, spec, found[1])
    run.wait_until("approve", "awaiting_input")
    told = [
        event.event for event in stack_services.ledger.history("toy-reject") if event.run == run.reference
    ]
    assert told == ["gates_passed", "nominated", "approval_requested"]
    assert stack_services.registry.training_runs("toy-reject", 10) == [trained]


def test_clearing_old_runs_makes_no_second_version_and_moves_nothing(
    runs: dict[str, LifecycleRun],
    start: Start,
    admin: AirflowClient,
    approver: AirflowClient,
    stack_services: Services,
) -> None:
    older = runs["toy"]
    older.approve(approver)
    assert older.wait_for_end() == "success"
    newer = start("toy", as_of=str(TODAY - timedelta(days=5)))
    newer.approve(approver)
    assert newer.wait_for_end() == "success"
    history = stack_services.ledger.history("toy")
    aliases = stack_services.registry.aliases("toy")
    assert aliases == {"champion": 2, "previous_champion": 1}
    for run in (older, newer):
        body = {"dry_run": False, "dag_run_id": run.run_id, "only_failed": False, "reset_dag_runs": True}
        cleared = send(admin, "POST", f"/api/v2/dags/{run.spec.lifecycle_dag_id}/clearTaskInstances", body)
        assert cleared.ok, cleared.text
    time.sleep(2)
    assert [run.wait_for_end() for run in (older, newer)] == ["success", "success"]
    assert older.task_states()["announce"] == "skipped"
    assert ": promoted over v1, approved by approver" in newer.note()
    assert stack_services.registry.aliases("toy") == aliases
    assert len(stack_services.registry.versions("toy")) == 2
    # The gates ran again, against another champion; that is all that is new on record.
    new = stack_services.ledger.history("toy")[len(history) :]
    assert {event.event for event in new} <= {"gates_passed", "gates_refused"}


def test_the_scheduler_starts_a_run_on_its_schedule(admin: AirflowClient, stack_services: Services) -> None:
    spec = find_spec(MODELS, "toy-minutely")
    admin.set_paused(spec.lifecycle_dag_id, paused=False)
    path = f"/api/v2/dags/{spec.lifecycle_dag_id}/dagRuns"
    found = wait_for(lambda: get(admin, path)["dag_runs"], "a scheduled run")
    admin.set_paused(spec.lifecycle_dag_id, paused=True)
    assert found[0]["run_type"] == "scheduled"
    admin.set_paused(spec.lifecycle_dag_id, paused=False)
    run = LifecycleRun(admin, spec, found[0]["dag_run_id"])
    run.wait_until("register", "success")
    admin.set_paused(spec.lifecycle_dag_id, paused=True)
    as_of = datetime.fromisoformat(stack_services.registry.version("toy-minutely", 1).tags[Tag.AS_OF])
    logical_date = datetime.fromisoformat(found[0]["logical_date"])
    assert as_of == datetime.combine(logical_date, time_of_day.min)


def test_an_expired_request_is_an_outcome(runs: dict[str, LifecycleRun], stack_services: Services) -> None:
    run = runs["toy-expire"]
    assert run.wait_for_end() == "success"
    assert ": expired: no valid answer until" in run.note()
    assert event_of(stack_services, "toy-expire", "expired").actor == "podium"
    assert stack_services.registry.aliases("toy-expire") == {}


def test_a_refused_gate_ends_the_run_cleanly_with_the_report_on_the_version(
    runs: dict[str, LifecycleRun], start: Start, stack_services: Services
) -> None:
    run = runs["toy-refused"]
    assert run.wait_for_end() == "success"
    states = run.task_states()
    assert (states["validate"], states["nominate"], states["approve"]) == ("success", "skipped", "skipped")
    assert ": refused by " in run.note()
    tags = stack_services.registry.version("toy-refused", 1).tags
    assert tags[Tag.VALIDATION_STATUS] == "failed"
    assert "refused by 1 of 1 gates: log_loss at most 0.0001" in tags[Tag.GATES]
    assert [event for event, _, _ in events_of(stack_services, "toy-refused")] == [
        "registered",
        "gates_refused",
    ]
    # A version that is there, as `podium copy` leaves one, is taken instead of a training.
    taken = start("toy-refused", version=1)
    taken.wait_until("register", "success")
    assert len(stack_services.registry.training_runs("toy-refused", 10)) == 1
    assert len(stack_services.registry.versions("toy-refused")) == 1


@pytest.mark.usefixtures("wrong_file")
def test_an_outage_is_waited_out(
    stack: Stack, start: Start, approver: AirflowClient, stack_services: Services
) -> None:
    stack.stop_part("mlflow")
    try:
        run = start("toy-outage")
        run.wait_until("train", "up_for_retry")
    finally:
        stack.start_part("mlflow")
    run.approve(approver)
    assert run.wait_for_end() == "success"
    assert [event for event, _, _ in events_of(stack_services, "toy-outage")] == STORY


def test_a_store_that_is_away_is_waited_out(
    stack: Stack, operator: AirflowClient, stack_services: Services
) -> None:
    assert stack_services.registry.aliases("toy")["champion"] == 2
    stack.stop_part("s3")
    try:
        run_id = operator.trigger("rollback_champion", {"model": "toy", "reason": "complaints about it"})
        wait_for(
            lambda: operator.task_states("rollback_champion", run_id)["move_champion_back"] == "up_for_retry",
            "a rollback that waits for the store",
        )
        assert stack_services.registry.champion("toy") == 2
    finally:
        stack.start_part("s3")
    assert operator.wait_for_end("rollback_champion", run_id) == "success"
    assert stack_services.registry.champion("toy") == 1
    assert [event for event, _, _ in events_of(stack_services, "toy")][-2:] == [
        "rollback_started",
        "rolled_back",
    ]


@pytest.fixture(scope="module")
def wrong_file() -> Iterator[Path]:
    """A wrong model file, there from a few tests earlier on; a Dag file that is newer is read at once."""
    wrong = MODELS / "wrong.yaml"
    wrong.write_text(
        (MODELS / "toy.yaml").read_text().replace("threshold", "treshold").replace("name: toy", "name: wrong")
    )
    (PROJECT_ROOT / "dags" / "check_model_files.py").touch()
    yield wrong
    wrong.unlink()


def test_a_backfill_sees_each_date_as_it_was(
    wrong_file: Path, admin: AirflowClient, stack_services: Services
) -> None:
    spec = find_spec(MODELS, "toy")
    last = datetime.now(UTC).replace(hour=SCHEDULED_HOUR, minute=0, second=0, microsecond=0) - timedelta(
        days=10
    )
    body = {
        "dag_id": spec.lifecycle_dag_id,
        "from_date": (last - timedelta(days=2)).isoformat(),
        "to_date": last.isoformat(),
        "max_active_runs": 3,
        "run_backwards": False,
        "dag_run_conf": {},
        "reprocess_behavior": "none",
    }
    answer = send(admin, "POST", "/api/v2/backfills", body)
    assert answer.ok, answer.text
    runs: list[str] = []
    while len(runs) < 3:
        listed = get(admin, f"/api/v2/dags/{spec.lifecycle_dag_id}/dagRuns?limit=100")["dag_runs"]
        runs = [run["dag_run_id"] for run in listed if run["run_type"] == "backfill"]
        time.sleep(0.5)
    for run_id in runs:
        LifecycleRun(admin, spec, run_id).wait_until("approve", "awaiting_input", "skipped", "success")
    # Airflow may start the newest tick of the schedule as well, now that the Dag has a past.
    backfilled = [
        event.reason
        for event in stack_services.ledger.history("toy")
        if event.event == "registered" and (event.run or "").startswith(f"{spec.lifecycle_dag_id}/backfill")
    ]
    days = sorted(reason.removeprefix("trained as of ") for reason in backfilled)
    assert days == [f"{last - timedelta(days=back):%Y-%m-%d}" for back in (2, 1, 0)]


def test_a_rollback_needs_a_reason_and_says_when_there_is_no_way_back(
    operator: AirflowClient, stack_services: Services
) -> None:
    with pytest.raises(PodiumError, match="reason"):
        operator.trigger("rollback_champion", {"model": "toy-hasty"})
    with pytest.raises(PodiumError, match="model"):
        operator.trigger("rollback_champion", {"model": "nonsense", "reason": "there is no such model"})
    run_id = operator.trigger("rollback_champion", {"model": "toy-hasty", "reason": "it is not good"})
    assert wait_for_run(operator, "rollback_champion", run_id) == "failed"
    refused = event_of(stack_services, "toy-hasty", "rollback_refused")
    assert "no earlier champion to go back to; the champion is v1" in refused.reason
    assert refused.actor == "operator"


def test_a_wrong_model_file_is_explained_and_all_others_keep_working(
    wrong_file: Path, admin: AirflowClient
) -> None:
    errors = wait_for(admin.import_errors, "an import error of the wrong file")
    assert [error["filename"] for error in errors] == ["check_model_files.py"]
    at = f"line {line_of(wrong_file, 'treshold')}"
    expected = f"{wrong_file}: {at}: gates[1].treshold: unknown key; did you mean 'threshold'?"
    assert expected in errors[0]["stack_trace"]
    assert "lifecycle_toy" in admin.dag_ids()
