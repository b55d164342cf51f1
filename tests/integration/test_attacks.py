"""Tried as an attacker on the real stack: each try is refused, and on record."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import boto3
import psutil
import pytest

from podium.errors import PodiumError
from podium.names import Alias, Tag
from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from podium.stack import control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.parts import Part
from podium.stack.running_stack import Stack
from support.airflow import LifecycleRun, event_of, events_of, get, send, wait_for_event, wait_for_run
from support.database import as_superuser
from support.mlflow_client import raw
from support.patience import PATIENCE_SECONDS

Start = Callable[..., LifecycleRun]
TODAY = datetime.now(UTC).date()
AS_OF = str(TODAY - timedelta(days=10))


@pytest.fixture(scope="module")
def runs(start: Start, admin: AirflowClient) -> dict[str, LifecycleRun]:
    """The runs that are attacked first, begun together."""
    return {
        "toy-marked": start("toy-marked", AS_OF),
        "toy-self": start("toy-self", AS_OF, who=admin),
        "toy-quorum": start("toy-quorum", AS_OF),
    }


@pytest.fixture(scope="module")
def later_runs(runs: dict[str, LifecycleRun], start: Start) -> dict[str, LifecycleRun]:
    """The others, which come as far as their cards while the first are attacked."""
    begun = {
        model: start(model, AS_OF) for model in ("toy-replayed", "toy-tampered", "toy-moved", "toy-voided")
    }
    return {**begun, "toy-newer": start("toy-newer", str(TODAY - timedelta(days=20)))}


@pytest.fixture
def layout(stack: Stack) -> Layout:
    found = load_layout(Paths(stack.state_dir))
    assert found is not None
    return found


def path_of(run: LifecycleRun, rest: str = "") -> str:
    return f"/api/v2/dags/{run.spec.lifecycle_dag_id}/dagRuns/{run.run_id}{rest}"


def clear(who: AirflowClient, run: LifecycleRun, *tasks: str) -> None:
    body = {"dry_run": False, "dag_run_id": run.run_id, "only_failed": False, "reset_dag_runs": True}
    body |= {"task_ids": list(tasks), "include_downstream": True}
    path = f"/api/v2/dags/{run.spec.lifecycle_dag_id}/clearTaskInstances"
    answer = send(who, "POST", path, body)
    assert answer.ok, answer.text


def clear_whole(who: AirflowClient, dag_id: str, run_id: str) -> None:
    body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
    answer = send(who, "POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)
    assert answer.ok, answer.text


def test_a_cleared_approval_is_asked_again_and_says_so(
    runs: dict[str, LifecycleRun], operator: AirflowClient, stack_services: Services
) -> None:
    run = runs["toy-marked"]
    run.wait_for_card()
    clear(operator, run, "approve")
    card = run.wait_for_card("asked again")
    assert "the task was cleared" in card
    assert event_of(stack_services, "toy-marked", "asked_again").version == 1


def test_marking_tasks_forging_xcoms_and_setting_tags_promotes_nothing(
    runs: dict[str, LifecycleRun],
    later_runs: dict[str, LifecycleRun],
    operator: AirflowClient,
    admin: AirflowClient,
    stack_services: Services,
) -> None:
    run = runs["toy-marked"]
    run.wait_for_card()
    forged = {"key": "return_value", "value": {"event": "approved", "actor": "approver", "version": 1}}
    answer = send(admin, "POST", path_of(run, "/taskInstances/approve/xcomEntries"), forged)
    assert answer.ok, answer.text
    edited = {"value": 99, "map_index": -1}
    answer = send(admin, "PATCH", path_of(run, "/taskInstances/register/xcomEntries/return_value"), edited)
    assert answer.ok, answer.text
    stack_services.registry.set_tags("toy-marked", 1, {Tag.APPROVAL_STATUS: "approved"})
    assert send(operator, "PATCH", path_of(run, "/taskInstances/approve"), {"new_state": "success"}).ok
    run.wait_until("promote", "failed")
    assert wait_for_run(operator, run.spec.lifecycle_dag_id, run.run_id) == "failed"
    assert ": not promoted: the ledger holds no decision" in run.note()
    refused = event_of(stack_services, "toy-marked", "promotion_refused")
    assert "nobody has approved" in refused.reason
    assert stack_services.registry.champion("toy-marked") is None


def test_whoever_triggered_the_run_may_not_approve_it(
    runs: dict[str, LifecycleRun],
    operator: AirflowClient,
    approver: AirflowClient,
    admin: AirflowClient,
    stack_services: Services,
) -> None:
    run = runs["toy-self"]
    card = run.wait_for_card()
    assert "Who may decide: admin, any Approver." in card
    assert "`admin` triggered this run and may not approve it" in card
    # A policy that names roles lets everybody answer who may answer at all, and judges.
    assert "triggered this run" in run.answer_in_vain(admin, "Approve", "I trained it, I like it")
    run.wait_for_card("the answer of admin did not count: admin triggered this run and may not approve")
    with pytest.raises(PodiumError, match="403"):
        run.answer(operator, "Approve", "I would like it to be approved")
    # Airflow was asked for the roles of who answers.
    run.approve(approver)
    assert run.wait_for_end() == "success"
    assert event_of(stack_services, "toy-self", "approved").actor == "approver"
    invalid = [who for kind, _, who in events_of(stack_services, "toy-self") if kind == "answer_invalid"]
    assert invalid == ["admin"]
    # Cleared after all that, it changes nothing.
    before = events_of(stack_services, "toy-self")
    clear(operator, run, "approve")
    assert run.wait_for_end() == "success"
    assert ": promoted as the first champion, approved by approver" in run.note()
    assert events_of(stack_services, "toy-self") == before


def test_a_quorum_of_two_is_two_people_who_tick_everything(
    runs: dict[str, LifecycleRun], approver: AirflowClient, admin: AirflowClient, stack_services: Services
) -> None:
    run = runs["toy-quorum"]
    run.wait_for_card()
    (tick,) = run.spec.approval.ticks
    assert "not ticked" in run.answer_in_vain(approver, "Approve", "looks fine to me", **{tick: False})
    run.wait_for_card("did not count: not ticked: 'I looked at the calibration'")
    run.answer(approver, "Approve", "looks fine to me", **{tick: True})
    card = run.wait_for_card("Approved by 1 of 2")
    assert "approver approved: looks fine to me" in card
    assert stack_services.registry.champion("toy-quorum") is None
    again = run.answer_in_vain(approver, "Approve", "and once more from me", **{tick: True})
    assert "another person must" in again
    run.wait_for_card("approver has approved already; another person must")
    run.answer(admin, "Approve", "I looked as well", **{tick: True})
    assert run.wait_for_end() == "success"
    approved = event_of(stack_services, "toy-quorum", "approved")
    assert (approved.actor, approved.reason) == ("approver, admin", "looks fine to me; I looked as well")
    assert stack_services.registry.champion("toy-quorum") == 1


def test_who_is_not_on_the_list_is_refused_and_on_record(
    later_runs: dict[str, LifecycleRun], operator: AirflowClient, admin: AirflowClient
) -> None:
    run = later_runs["toy-replayed"]
    run.wait_for_card()
    for who in (operator, admin):
        with pytest.raises(PodiumError, match="403"):
            run.answer(who, "Approve", "I would like it to be approved")
    log = get(admin, f"/api/v2/eventLogs?dag_id={run.spec.lifecycle_dag_id}&order_by=-when")["event_logs"]
    # Airflow records what people try who may answer at all.
    assert ("update_hitl_detail", "admin") in {(entry["event"], entry["owner"]) for entry in log}


@contextmanager
def frozen_scheduler(stack: Stack, layout: Layout) -> Iterator[None]:
    """Let the scheduler stand still, between two transactions: what it has locked nobody could answer."""
    scheduler = psutil.Process(control.status(Paths(stack.state_dir))[Part.SCHEDULER].pid)
    open_ones = "SELECT client_port FROM pg_stat_activity WHERE datname = 'airflow' AND state <> 'idle'"

    def in_a_transaction() -> bool:
        ports = {connection.laddr.port for connection in scheduler.net_connections("tcp")}
        return bool(ports & {port for (port,) in as_superuser(layout, open_ones)})

    scheduler.suspend()
    try:
        while in_a_transaction():
            scheduler.resume()
            time.sleep(0.1)
            scheduler.suspend()
        yield
    finally:
        scheduler.resume()


def test_an_answer_after_expiry_does_not_count(
    stack: Stack, layout: Layout, start: Start, approver: AirflowClient, stack_services: Services
) -> None:
    run = start("toy-late")
    run.wait_until("approve", "awaiting_input")
    # While the scheduler stands still nobody closes the request in time, and Airflow takes the answer.
    with frozen_scheduler(stack, layout):
        asked = wait_for_event(stack_services, "toy-late", "approval_requested")
        time.sleep(max(0.0, (asked.at + timedelta(seconds=16) - datetime.now(UTC)).total_seconds()))
        told = run.answer_in_vain(approver, "Approve", "better late than never")
    assert "the request expired on" in told
    assert run.wait_for_end() == "success"
    assert ": expired: no valid answer until" in run.note()
    assert "the request expired on" in event_of(stack_services, "toy-late", "answer_invalid").reason
    assert stack_services.registry.champion("toy-late") is None


def test_approved_and_then_changed_in_the_store_is_not_promoted(
    later_runs: dict[str, LifecycleRun], approver: AirflowClient, layout: Layout, stack_services: Services
) -> None:
    run = later_runs["toy-tampered"]
    run.approve(approver, wait=False)
    wait_for_event(stack_services, "toy-tampered", "approved")
    flip_a_byte(stack_services, layout, "toy-tampered", 1)
    run.wait_until("promote", "failed")
    refused = event_of(stack_services, "toy-tampered", "promotion_refused")
    assert "v1 is not what was registered: model.skops differs" in refused.reason
    assert stack_services.registry.champion("toy-tampered") is None


def flip_a_byte(services: Services, layout: Layout, model: str, number: int) -> None:
    """Change the model's file behind MLflow's back, with the keys of the store."""
    store = boto3.client(
        "s3",
        endpoint_url=layout.s3_url,
        aws_access_key_id=layout.secrets.s3_key,
        aws_secret_access_key=layout.secrets.s3_secret,
        region_name="us-east-1",
    )
    model_id = raw(services.registry).get_model_version(model, str(number)).source.rpartition("/")[2]
    objects = store.list_objects_v2(Bucket="mlflow")["Contents"]
    (key,) = [item["Key"] for item in objects if item["Key"].endswith(f"{model_id}/artifacts/model.skops")]
    whole = store.get_object(Bucket="mlflow", Key=key)["Body"].read()
    changed = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    store.put_object(Bucket="mlflow", Key=key, Body=changed)


def test_approved_and_then_moved_by_hand_is_frozen_until_an_approver_settles_it(
    later_runs: dict[str, LifecycleRun],
    operator: AirflowClient,
    approver: AirflowClient,
    admin: AirflowClient,
    stack_services: Services,
) -> None:
    run = later_runs["toy-moved"]
    form = {"model": "toy-moved", "settlement": "accept", "reason": "it was an emergency"}
    # Nothing is to settle yet.
    stale = approver.trigger("settle_champion", form)
    run.approve(approver, wait=False)
    wait_for_event(stack_services, "toy-moved", "approved")
    stack_services.registry.set_alias("toy-moved", Alias.CHAMPION, 1)
    run.wait_until("promote", "failed")
    assert "moved outside Podium" in event_of(stack_services, "toy-moved", "promotion_refused").reason

    assert wait_for_run(admin, "reconcile", admin.trigger("reconcile", {})) == "success"
    found = event_of(stack_services, "toy-moved", "moved_outside")
    assert (found.version, found.from_version) == (1, None)
    assets = get(admin, "/api/v2/assets/events?limit=100&order_by=-timestamp")["asset_events"]
    assert "toy-moved" in [move["extra"].get("model") for move in assets if "outside" in move["uri"]]

    # The approver asked before that; whoever runs it again settles nothing in the approver's name.
    for _ in range(2):
        assert wait_for_run(admin, "settle_champion", stale) == "success"
        assert admin.task_states("settle_champion", stale)["settle"] == "skipped"
        refused = event_of(stack_services, "toy-moved", "settlement_refused")
        assert (refused.actor, refused.run) == ("approver", f"settle_champion/{stale}")
        clear_whole(operator, "settle_champion", stale)
    assert wait_for_run(admin, "settle_champion", operator.trigger("settle_champion", form)) == "failed"
    assert stack_services.registry.champion("toy-moved") == 1
    run_id = approver.trigger("settle_champion", {**form, "settlement": "revert"})
    assert wait_for_run(admin, "settle_champion", run_id) == "success"
    reverted = event_of(stack_services, "toy-moved", "outside_move_reverted")
    assert (reverted.actor, reverted.reason) == ("approver", "it was an emergency")
    assert stack_services.registry.champion("toy-moved") is None


def test_an_answer_about_something_that_changed_is_void(
    later_runs: dict[str, LifecycleRun],
    approver: AirflowClient,
    admin: AirflowClient,
    stack_services: Services,
) -> None:
    run = later_runs["toy-voided"]
    run.wait_for_card()
    stack_services.registry.set_alias("toy-voided", Alias.CHAMPION, 1)
    run.answer(approver, "Approve", "it is good enough")
    assert run.wait_for_end() == "success"
    assert ": void: the champion was none and is v1 now" in run.note()
    voided = event_of(stack_services, "toy-voided", "voided")
    assert voided.reason == "the champion was none and is v1 now"
    # This model's file says that a champion moved outside is to be reverted.
    assert wait_for_run(admin, "reconcile", admin.trigger("reconcile", {})) == "success"
    assert event_of(stack_services, "toy-voided", "outside_move_reverted").actor == "podium"
    assert stack_services.registry.champion("toy-voided") is None


def test_an_old_decision_is_worth_nothing_for_a_new_version(
    later_runs: dict[str, LifecycleRun],
    admin: AirflowClient,
    approver: AirflowClient,
    stack_services: Services,
) -> None:
    run = later_runs["toy-replayed"]
    run.approve(approver)
    assert run.wait_for_end() == "success"
    assert stack_services.registry.champion("toy-replayed") == 1
    # The run is deleted, and made again under the same name about other data.
    assert send(admin, "DELETE", path_of(run), {}).ok
    body = {
        "logical_date": None,
        "dag_run_id": run.run_id,
        "conf": {"as_of": f"{TODAY - timedelta(days=3)}T00:00:00+00:00"},
    }
    answer = send(admin, "POST", f"/api/v2/dags/{run.spec.lifecycle_dag_id}/dagRuns", body)
    assert answer.ok, answer.text
    assert run.wait_for_end() == "success"
    assert run.task_states()["promote"] == "success"
    assert len(stack_services.registry.versions("toy-replayed")) == 2
    assert stack_services.registry.champion("toy-replayed") == 1
    assert [event for event, _, _ in events_of(stack_services, "toy-replayed")].count("promoted") == 1


def test_a_newer_candidate_ends_an_older_request_by_itself(
    later_runs: dict[str, LifecycleRun], start: Start, approver: AirflowClient, stack_services: Services
) -> None:
    older = later_runs["toy-newer"]
    older.wait_for_card()
    newer = start("toy-newer", str(TODAY - timedelta(days=10)))
    newer.wait_for_card()
    assert older.wait_for_end() == "success"
    assert f": superseded: v2 of run {newer.reference} is a newer candidate, as of" in older.note()
    # What it did stays as it was: only the wait for an answer ended.
    states = older.task_states()
    done = [task for task, state in states.items() if state == "success"]
    assert sorted(done) == ["approve", "nominate", "outcome", "register", "train", "validate"], states
    superseded = event_of(stack_services, "toy-newer", "superseded")
    assert (superseded.version, superseded.run) == (1, older.reference)
    assert stack_services.registry.aliases("toy-newer") == {"candidate": 2}
    newer.approve(approver)
    assert newer.wait_for_end() == "success"
    assert stack_services.registry.aliases("toy-newer") == {"champion": 2}


def test_the_record_is_whole_after_all_that_and_survives_airflows_own_cleaning(
    stack: Stack, layout: Layout, stack_services: Services
) -> None:
    from podium.ledger.chain import walk
    from podium.lifecycle.verify import told_heads
    from podium.stack.environment import airflow_env, base_env
    from podium.stack.programs import airflow_command

    def state() -> tuple[int, str, str | None]:
        chain = walk(
            stack_services.ledger.record(),
            told_heads(stack_services, stack_services.ledger.models()),
        )
        return chain.events, chain.head, chain.difference

    events, head, difference = state()
    assert events > 50
    assert difference is None
    paths = Paths(stack.state_dir)
    environment = base_env({"PATH": ""}) | airflow_env(layout, paths, {})
    moment = datetime.now(UTC).isoformat()
    command = airflow_command("db", "clean", "--clean-before-timestamp", moment, "--skip-archive", "--yes")
    # A run that begins meanwhile, or a Dag that has tasks and was not read since, holds rows that are to go,
    # and Airflow gives up: an operator cleans again.
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        if done.returncode == 0 or time.monotonic() > until:
            break
        time.sleep(5)
    assert done.returncode == 0, done.stderr[-4000:]
    assert state() == (events, head, None)
    assert event_of(stack_services, "toy-quorum", "approved").actor == "approver, admin"
