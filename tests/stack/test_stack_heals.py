"""The embedded stack, really started: closed doors, healing after kill -9, honest failures."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pytest

from podium.errors import PartFailedError, StackBusyError, StackError
from podium.ledger.events import Event
from podium.operations.mlflow_server import SERVER_FOLDER
from podium.services import Services, connect
from podium.stack import control as control_module
from podium.stack import orphans
from podium.stack.layout import Layout, Paths, load_layout, repo_root
from podium.stack.parts import ALL_PARTS
from podium.stack.postgres import fallback_root
from podium.stack.probes import s3_round_trip
from podium.stack.running_stack import running_stack
from podium.stack.store_doors import assert_keys_enforced
from support.command_line import stack_command
from support.patience import PATIENCE_SECONDS


def layout_of(paths: Paths) -> Layout:
    layout = load_layout(paths)
    assert layout is not None
    return layout


def processes_of(paths: Paths) -> list[psutil.Process]:
    return orphans.find(control_module._footprint(paths, load_layout(paths)))


def kept(services: Services) -> tuple[dict[str, dict[str, int]], list[Event]]:
    """The aliases of all models, and the whole history."""
    return {name: services.registry.aliases(name) for name in services.registry.models()}, list(
        services.ledger.record()
    )


def test_a_second_up_says_so(up: Paths) -> None:
    done = stack_command(up.state_dir, "up")
    assert done.returncode == 0
    assert "already running" in done.stdout
    assert layout_of(up).airflow_url in done.stdout


def test_status_for_programs(up: Paths) -> None:
    report = json.loads(stack_command(up.state_dir, "status", "--json").stdout)
    assert report["running"]
    assert {name: part["state"] for name, part in report["parts"].items()} == dict.fromkeys(
        ALL_PARTS, "RUNNING"
    )


def test_s3_turns_strangers_away(up: Paths) -> None:
    layout = layout_of(up)
    assert s3_round_trip(layout) is None
    assert_keys_enforced(up, layout)
    stranger = layout.secrets.model_copy(update={"s3_secret": "y" * 40})
    assert "403" in str(s3_round_trip(layout.model_copy(update={"secrets": stranger})))


def test_each_database_role_sees_only_its_own(up: Paths) -> None:
    layout = layout_of(up)
    for database, allowed in (("mlflow", True), ("airflow", False), ("ledger", False), ("postgres", False)):
        url = layout.database_url("mlflow", database).replace("+psycopg2", "")
        if allowed:
            psycopg2.connect(url).close()
        else:
            with pytest.raises(psycopg2.OperationalError, match="permission denied"):
                psycopg2.connect(url)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(
            host="127.0.0.1", port=layout.ports.postgres, user="podium", password="x", dbname="ledger"
        )


def test_all_listeners_are_on_loopback(up: Paths) -> None:
    listening = []
    for process in processes_of(up):
        with suppress(psutil.NoSuchProcess):  # of a process that ends meanwhile there is none
            listening += [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 12  # the object store alone has ten
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_no_secret_on_a_command_line(up: Paths) -> None:
    # Of a process that ends meanwhile there is none.
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert any("mlflow" in line for line in lines)
    assert not [line for line in lines for secret in layout_of(up).secrets.values() if secret in line]


def test_files_are_private(up: Paths) -> None:
    for entry in up.state_dir.iterdir():
        assert entry.stat().st_mode & 0o77 == 0, entry
    private = [
        up.run / SERVER_FOLDER / "mlflow-auth.ini",
        up.airflow_home / "airflow.cfg",
        *up.run.glob("*.*"),
        *up.logs.glob("*.log"),
    ]
    assert len(private) > 15
    for path in private:
        assert path.stat().st_mode & 0o77 == 0, path


def test_everybody_can_log_in(up: Paths) -> None:
    layout = layout_of(up)
    for name, password in layout.secrets.people.items():
        body = json.dumps({"username": name, "password": password}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            f"{layout.airflow_url}/auth/token", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            assert json.load(answer)["access_token"]


def test_another_run_with_other_settings_is_turned_away(up: Paths) -> None:
    with (
        pytest.raises(StackBusyError, match="other settings"),
        running_stack(up.state_dir, extra_airflow_env={"X": "1"}),
    ):
        pass


def test_kill_9_of_everything_then_up_heals(up: Paths, stack_services: Services) -> None:
    layout, before = layout_of(up), kept(stack_services)
    with (
        psycopg2.connect(layout.ledger_owner_url.replace("+psycopg2", "")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE keep_me AS SELECT 42 AS answer")
    killed = {process.pid for process in processes_of(up)}
    supervisor = next(p for p in processes_of(up) if "supervisor.supervisord" in p.cmdline())
    # Supervisord and half of the rest: the other half are orphans, which still hold the ports and the data.
    supervisor.kill()
    for process in processes_of(up)[::2]:
        with suppress(psutil.NoSuchProcess):  # some end by themselves when their parent is gone
            process.kill()

    done = stack_command(up.state_dir, "up")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "an earlier run left behind" in done.stdout
    assert not killed & {process.pid for process in processes_of(up)}
    assert layout_of(up).secrets == layout.secrets
    with (
        psycopg2.connect(layout_of(up).ledger_owner_url.replace("+psycopg2", "")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT answer FROM keep_me")
        assert cursor.fetchone() == (42,)
    assert kept(connect()) == before


def test_down_leaves_nothing_running(up: Paths) -> None:
    assert stack_command(up.state_dir, "down").returncode == 0
    assert processes_of(up) == []
    assert stack_command(up.state_dir, "status").returncode == 3


def test_a_part_that_fails_is_named_with_its_log(paths: Paths) -> None:
    layout = layout_of(paths)
    control = layout.postgres_home / "data" / "global" / "pg_control"
    saved = control.read_bytes()
    control.write_bytes(b"")
    try:
        with (
            pytest.raises(PartFailedError, match="postgres did not come up") as failure,
            running_stack(paths.state_dir, parts={"postgres"}),
        ):
            pass
    finally:
        control.write_bytes(saved)
    assert "pg_control" in failure.value.tail
    assert failure.value.log == paths.log_of("postgres")
    assert processes_of(paths) == []


def test_one_part_is_stopped_and_started(paths: Paths) -> None:
    with running_stack(paths.state_dir, parts={"postgres"}) as stack:
        url = stack.ledger_url.replace("+psycopg2", "")
        stack.stop_part("postgres")
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(url)
        stack.start_part("postgres")
        psycopg2.connect(url).close()
        assert stack.client_env()["PODIUM_LEDGER_URL"] == stack.ledger_url
    assert processes_of(paths) == []


OWNER = (
    "import signal, sys, time; from pathlib import Path\n"
    "from podium.stack.running_stack import running_stack\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background ignores it
    "with running_stack(Path(sys.argv[1]), parts={'postgres'}):\n"
    "    print('up', flush=True); time.sleep(60)"
)


@pytest.fixture
def owner(paths: Paths) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds a running stack."""
    env = os.environ | {"PYTHONPATH": str(repo_root() / "include")}
    argv = [sys.executable, "-c", OWNER, str(paths.state_dir)]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything(
    paths: Paths, owner: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    with pytest.raises(StackBusyError, match="belongs to process"), running_stack(paths.state_dir):
        pass
    owner.send_signal(number)
    assert owner.wait(timeout=PATIENCE_SECONDS) != 0
    assert processes_of(paths) == []


def test_the_stack_of_a_killed_owner_is_taken_over(paths: Paths, owner: subprocess.Popen[bytes]) -> None:
    before = {process.pid for process in processes_of(paths)}
    owner.kill()
    owner.wait()
    assert {process.pid for process in processes_of(paths)} >= before
    with running_stack(paths.state_dir, parts={"postgres"}) as stack:
        assert not stack.was_running
        assert not before & {process.pid for process in processes_of(paths)}
    assert processes_of(paths) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user for Postgres")
def test_a_folder_that_nobody_can_reach() -> None:
    private = Path(tempfile.mkdtemp())
    paths = Paths(private / "state")
    try:
        with running_stack(paths.state_dir, parts={"postgres"}) as stack:
            psycopg2.connect(stack.ledger_url.replace("+psycopg2", "")).close()
            assert fallback_root(paths).is_dir()
        with running_stack(paths.state_dir, parts={"postgres"}):
            pass
        control_module.clean(paths)
        assert not fallback_root(paths).exists()
    finally:
        shutil.rmtree(private)


def test_data_without_its_passwords_is_not_touched(paths: Paths) -> None:
    hidden = paths.layout.with_suffix(".away")
    paths.layout.rename(hidden)
    try:
        with pytest.raises(StackError, match="is lost"), running_stack(paths.state_dir, parts={"postgres"}):
            pass
    finally:
        hidden.rename(paths.layout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root keeps the databases outside the state directory")
def test_a_state_directory_removed_by_hand_does_not_stop_the_next_start() -> None:
    with tempfile.TemporaryDirectory() as folder:  # mode 700: nobody cannot enter it
        hidden = Paths(Path(folder).resolve() / "state")
        for _ in range(2):
            with running_stack(hidden.state_dir, parts={"postgres"}):
                assert fallback_root(hidden).exists()
            shutil.rmtree(hidden.state_dir)
        assert control_module.clean(hidden)
        assert not fallback_root(hidden).exists()
