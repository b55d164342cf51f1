"""A backup that is made while everything runs and champions move, restored into an empty stack."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
from psycopg2.errors import InsufficientPrivilege

from podium.cli.backup import NOT_WHOLE
from podium.errors import OutOfUse, PodiumError
from podium.ledger import history
from podium.ledger import store as ledger_module
from podium.ledger.chain import walk
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.live_answers import LiveStore, VersionOnTrial
from podium.ledger.watch_counts import told_of
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.holding import Keeping, keeping_request, say
from podium.lifecycle.verify import alias_differences, all_differences, told_heads
from podium.monitoring.on_record import KINDS, judged_in, on_record
from podium.monitoring.recompute import evidence_differences
from podium.monitoring.watch_recompute import watch_differences
from podium.names import RETENTION
from podium.operations import postgres_roles
from podium.operations.backup import backup, objects
from podium.operations.backup import databases as databases_module
from podium.operations.backup.index import read_index
from podium.registry.disposal import Disposal, Login
from podium.scoring.pinned_version import pin
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.stack import backups, postgres
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.running_stack import Stack
from podium.versions import check_bytes
from support.copies import DATES, OLD, QUIET, ROWS, SPEC, Copied, answers_of, killed_at, let_go, parts_of
from support.database import execute
from support.mlflow_client import raw
from support.patience import PATIENCE_SECONDS
from support.retained import loads
from support.steps import promote_as_of, roll_back

TABLES = """
    SELECT relname::text, relowner::regrole::text, relacl::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v') ORDER BY relname
"""


def layout_of(stack: Stack) -> Layout:
    layout = load_layout(Paths(stack.state_dir))
    assert layout is not None
    return layout


@pytest.fixture
def copied_parts(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> Services:
    return parts_of(copied.stack, monkeypatch)


def test_champions_history_and_artifacts_are_intact(copied: Copied, copied_parts: Services) -> None:
    registry, ledger = copied_parts.registry, copied_parts.ledger
    assert copied.moves > 0
    assert list(ledger.record())[: len(copied.source)] == copied.source
    chain = walk(ledger.record(), told_heads(copied_parts, registry.models()))
    assert (chain.difference, chain.events >= copied.index.ledger_events) == (None, True)
    folded = {model: history.champion(ledger.history(model)) for model in ledger.models()}
    assert {model: number for model, number in folded.items() if number} == copied.index.champions
    # A model that other tests moved outside Podium is as it was.
    differing = {model for model in folded if alias_differences(copied_parts, model)}
    assert differing <= {model for model in folded if history.outside_move(ledger.history(model))}
    assert SPEC.name not in differing
    for model, number in copied.index.champions.items():
        check_bytes(copied_parts, ledger.history(model), model, number)
    assert answers_of(copied_parts, copied.index.champions[SPEC.name]) == copied.answers
    loaded = mlflow.pyfunc.load_model(f"models:/{SPEC.name}@champion")
    assert loaded.predict(ROWS).tolist() == copied.answers
    run = registry.version(SPEC.name, 1).run_id
    assert {item.path for item in raw(registry).list_artifacts(run)} >= {"holdout", "manifests"}


def test_a_version_that_was_deleted_after_the_backup_is_whole_again_and_one_before_it_is_gone_on_purpose(
    copied: Copied, copied_parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    # v3 was deleted before the backup, v4 after it; the deletion of v5 was under way.
    assert [loads(copied_parts, OLD, number) for number in range(1, 7)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]
    assert pin(copied_parts, OLD, "champion").version == 2
    with pytest.raises(OutOfUse, match="v3 was deleted on .* by podium retention"):
        pin(copied_parts, OLD, "3")
    with pytest.raises(OutOfUse, match="v4 is in quarantine since"):
        pin(copied_parts, OLD, "4")
    assert all_differences(copied_parts, [OLD]) == []
    assert not [problem for problem in copied.index.problems if OLD in problem]
    spec = SPEC.model_copy(update={"name": OLD})
    asks = keeping_request(
        spec, Keeping.RESTORE, 4, asks=Person("amy"), reason="an audit needs it", run="r/1"
    )
    say(copied_parts, asks)
    assert pin(copied_parts, OLD, "4").version == 4
    # The copy has an account of its own that deletes, and goes on where the source was.
    retention = Disposal(
        copied.stack.mlflow_url, Login(RETENTION, layout_of(copied.stack).secrets.mlflow_retention)
    )
    assert let_go(copied_parts, retention, monkeypatch).deleted == [5]
    assert let_go(copied_parts, retention, monkeypatch, days=15).deleted == [4]
    assert all_differences(copied_parts, [OLD]) == []
    assert [loads(copied_parts, OLD, number) for number in (1, 2, 6)] == [True] * 3


def test_what_was_not_whole_is_named(copied: Copied) -> None:
    # Another test changes bytes of this one in the store, where it runs before.
    assert {problem.partition(":")[0] for problem in copied.index.problems} <= {"toy-tampered v1"}
    assert copied.said["backup"].returncode == (NOT_WHOLE if copied.index.problems else 0)
    assert f"{SPEC.name} v" in copied.said["backup"].stdout


def test_owners_and_privileges_are_those_of_the_source(copied: Copied, stack: Stack) -> None:
    for _, database in postgres_roles.DATABASES:
        before, after = (
            execute(backups.stores_of(layout_of(each)).postgres_url[: -len("postgres")] + database, TABLES)
            for each in (stack, copied.stack)
        )
        assert len(after) > 3
        assert after == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_events SET reason = 'x'",
        "DELETE FROM ledger_events",
        "TRUNCATE ledger_events",
        "ALTER TABLE ledger_events ADD COLUMN x int",
        "CREATE TABLE x ()",
    ],
)
def test_the_application_cannot_change_the_restored_chain(copied: Copied, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        execute(copied.stack.ledger_url, statement)


def test_a_model_server_appends_nothing_to_the_restored_chain(copied: Copied) -> None:
    url = copied.stack.client_env()["PODIUM_LEDGER_SERVER_URL"]
    assert execute(url, "SELECT count(*) FROM ledger_events") != [(0,)]
    for statement in ("INSERT INTO ledger_events (event) VALUES ('approved')", "SELECT pg_advisory_lock(1)"):
        with pytest.raises(InsufficientPrivilege):
            execute(url, statement)


def test_what_model_servers_counted_is_kept(copied: Copied, copied_parts: Services) -> None:
    counted = copied.counted
    trial = VersionOnTrial(counted.champion, counted.candidate)
    assert LiveStore(copied_parts.ledger).counted_rows(SPEC.name, trial, counted.nominated) == counted.rows


def test_judged_windows_still_follow_from_what_was_counted(copied: Copied, copied_parts: Services) -> None:
    events = copied_parts.ledger.history(SPEC.name, kinds=KINDS)
    assert len(on_record(events, 1).windows) == 5
    assert any(said == "moved" for event in events for _, _, said in judged_in(event))
    assert evidence_differences(copied_parts.ledger, [SPEC.name]) == []


def test_verdicts_and_steps_of_a_ramp_still_follow_from_what_servers_counted(
    copied: Copied, copied_parts: Services
) -> None:
    ramps = copied_parts.ledger.history(SPEC.name, kinds=[EventKind.RAMP_STEP, EventKind.RAMP_ENDED])
    assert [(event.details["share"], event.details.get("said")) for event in ramps] == [
        (5, None),
        (25, "good"),
        (50, "good"),
        (0, "bad"),
    ]
    assert len(told_of(copied_parts.ledger, SPEC.name, ramps[0].seq)) == 2
    (judged,) = copied_parts.ledger.history(SPEC.name, kinds=[EventKind.WATCH_JUDGED])
    assert judged.reason == "good: v2 is not seen to be worse than v1 on 60 rows"
    assert len(told_of(copied_parts.ledger, SPEC.name, judged.details["promotion"])) == 2
    assert watch_differences(copied_parts.ledger, [SPEC.name]) == []


def test_the_copy_goes_on(copied: Copied, copied_parts: Services) -> None:
    champion = copied.index.champions[SPEC.name]
    moved = promote_as_of(copied_parts, SPEC, DATES[champion == 1])
    assert moved.version != champion
    assert roll_back(copied_parts, SPEC, champion).version == champion
    run = raw(copied_parts.registry).create_run("0")
    assert run.info.status == "RUNNING"


def test_what_is_in_use_or_half_restored_is_refused(copied: Copied) -> None:
    assert copied.said["up after a kill"].returncode == 1
    assert "did not end: remove what is left with 'make clean'" in copied.said["up after a kill"].stderr
    assert copied.said["restore"].returncode == 0, copied.said["restore"].stderr
    again = copied.said["restore again"]
    assert again.returncode == 1
    assert "the databases are in use (" in again.stderr
    assert "mlflow: " in again.stderr
    assert "a restore overwrites nothing" in again.stderr
    stores = backups.stores_of(layout_of(copied.stack))
    with pytest.raises(PodiumError, match="clients are connected to the databases .* connected to mlflow"):
        backup.restore(stores, copied.folder, QUIET)


def test_the_command_needs_nothing_but_the_environment(copied: Copied, tmp_path: Path) -> None:
    stores, folder = backups.stores_of(layout_of(copied.stack)), tmp_path / "b"
    environment = {
        "PODIUM_POSTGRES_URL": stores.postgres_url,
        "AWS_ENDPOINT_URL": stores.store.endpoint,
        "AWS_ACCESS_KEY_ID": stores.store.access_key,
        "AWS_SECRET_ACCESS_KEY": stores.store.secret_key,
        "PODIUM_BUCKET": stores.store.bucket,
        "PYTHONPATH": str(PROJECT_ROOT / "include"),
    }
    argv = [sys.executable, "-m", "podium", "backup", "create", str(folder)]
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == copied.said["backup"].returncode, done.stderr
    assert read_index(folder).digest() in done.stdout
    assert stores.store.secret_key not in done.stdout + done.stderr
    assert {path.stat().st_mode & 0o77 for path in (folder, *folder.rglob("*"))} == {0}


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (databases_module, "_snapshot"),
        (databases_module, "read_facts"),
        (objects, "_fetched"),
        (backup, "write_index"),
        (os, "sync"),
    ],
)
def test_a_killed_backup_is_none_and_holds_nothing(
    copied: Copied,
    copied_parts: Services,
    tmp_path: Path,
    module: Any,
    function: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores, folder = backups.stores_of(layout_of(copied.stack)), tmp_path / "b"
    killed = killed_at(module, function, lambda: backup.create(stores, folder, QUIET))
    assert killed == -signal.SIGKILL
    assert not folder.exists()
    partial = tmp_path / "b.partial"
    assert partial.is_dir()
    with pytest.raises(PodiumError, match="never finished"):
        read_index(partial)
    monkeypatch.setattr(ledger_module, "LOCK_TIMEOUT_SECONDS", 5)
    with copied_parts.ledger.lock(SPEC.name) as lock:
        copied_parts.ledger.append(NewEvent(EventKind.APPROVED, f"nobody{function.replace('_', '-')}", 1))
        lock.assert_held()
    held = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND datname = ANY(%s)"
    deadline = time.monotonic() + 60
    while execute(stores.postgres_url, held, postgres.SUPERUSER, ["airflow", "mlflow", "ledger"]) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    shutil.rmtree(partial)
