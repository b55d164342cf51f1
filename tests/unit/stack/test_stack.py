"""The embedded stack, as far as it can be judged without starting anything."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console
from supervisor.options import ServerOptions

from podium.errors import PartFailedError, StackError
from podium.stack import backups, control, orphans
from podium.stack.control import clean
from podium.stack.environment import accounts_env, airflow_env, base_env, client_env, own_s3
from podium.stack.layout import (
    Layout,
    Paths,
    Secrets,
    create_folders,
    load_layout,
    save_layout,
    socket_path,
)
from podium.stack.parts import ALL_PARTS, Part, with_needs
from podium.stack.ports import Ports, choose_ports, is_free, occupied_by
from podium.stack.postgres import PostgresHome
from podium.stack.programs import Program, all_programs
from podium.stack.running_stack import stack_of
from podium.stack.supervision import render_config, write_config

PORTS = Ports(s3=20_100, airflow=23_100, mlflow=24_100, postgres=25_100)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "state dir")
    create_folders(made)
    return made


@pytest.fixture
def layout(paths: Paths) -> Layout:
    return Layout(
        ports=PORTS,
        secrets=Secrets.generate(),
        socket=paths.run / "supervisor.sock",
        postgres_home=paths.state_dir / "postgres",
    )


@pytest.fixture
def programs(paths: Paths, layout: Layout) -> tuple[Program, ...]:
    home = PostgresHome(layout.postgres_home, own_binaries=False, user=None)
    return all_programs(layout, paths, home, {"PODIUM_MODELS_DIR": '/a b/100%; it\'s # "odd"'})


def test_no_command_line_holds_a_secret(programs: tuple[Program, ...], layout: Layout) -> None:
    words = " ".join(word for program in programs for word in program.argv)
    assert {program.part for program in programs} == ALL_PARTS
    assert not [secret for secret in layout.secrets.values() if secret in words]


def test_the_api_server_alone_reads_pictures_from_mlflow(
    programs: tuple[Program, ...], layout: Layout
) -> None:
    knows = {program.part for program in programs if layout.secrets.mlflow_reader in program.env.values()}
    assert knows == {Part.API_SERVER}


def test_the_scheduler_alone_whose_children_are_the_tasks_knows_who_deletes(
    programs: tuple[Program, ...], layout: Layout
) -> None:
    secret = layout.secrets.mlflow_retention
    assert {program.part for program in programs if secret in program.env.values()} == {Part.SCHEDULER}
    assert secret not in client_env(layout).values()


def test_supervisor_config_holds_no_secret_and_parses(
    programs: tuple[Program, ...], layout: Layout, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = render_config(programs, layout.socket)
    assert not [secret for secret in layout.secrets.values() if secret in text]
    write_config(programs, paths, layout.socket)
    monkeypatch.chdir(paths.run)
    options = ServerOptions()
    options.realize(["-c", "supervisord.conf"])
    parsed = {group.name: group.process_configs[0] for group in options.process_group_configs}
    assert set(parsed) == {part.value for part in ALL_PARTS}
    assert all(not program.autostart for program in parsed.values())
    assert shlex.split(parsed["mlflow"].command) == ["/bin/sh", "./mlflow.sh"]
    # Postgres runs in its data folder, perhaps as another user: out of reach of a script in the run folder.
    assert shlex.split(parsed["postgres"].command)[0].endswith("/bin/postgres")
    assert [p.directory for p in parsed.values() if p.command.startswith("/bin/sh")] == [None] * 6


def test_start_scripts_are_private_and_quote_every_value(programs: tuple[Program, ...], paths: Paths) -> None:
    odd = next(program for program in programs if program.part is Part.SCHEDULER)
    probe = Program(Part.SCHEDULER, ("/bin/sh", "-c", 'printf %s "$PODIUM_MODELS_DIR"'), odd.env)
    write_config((probe,), paths, paths.run / "s.sock")
    script = paths.run / "scheduler.sh"
    assert script.stat().st_mode & 0o777 == 0o600
    printed = subprocess.run(["/bin/sh", str(script)], capture_output=True, text=True, check=True).stdout
    assert printed == odd.env["PODIUM_MODELS_DIR"]


def test_every_server_is_told_to_stay_on_loopback(programs: tuple[Program, ...]) -> None:
    by_part = {program.part: program for program in programs}
    assert "127.0.0.1" in by_part[Part.POSTGRES].argv
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-disableHttp", "-s3.iam=false"} <= set(
        by_part[Part.S3].argv
    )
    assert "127.0.0.1" in by_part[Part.MLFLOW].argv
    assert by_part[Part.API_SERVER].env["AIRFLOW__API__HOST"] == "127.0.0.1"
    for part in (Part.SCHEDULER, Part.TRIGGERER):
        assert "--skip-serve-logs" in by_part[part].argv


def test_accounts_passwords_reach_only_what_makes_the_accounts(
    layout: Layout, paths: Paths, programs: tuple[Program, ...]
) -> None:
    env = airflow_env(layout, paths, {})
    assert "PodiumFabAuthManager" in env["AIRFLOW__CORE__AUTH_MANAGER"]
    told = [value for program in programs for value in program.env.values()] + [*env.values()]
    assert not [name for name, password in layout.secrets.people.items() if password in told]
    assert set(layout.secrets.people.values()) < set(accounts_env(layout).values())


def test_mlflow_alone_knows_its_administrator(programs: tuple[Program, ...], layout: Layout) -> None:
    knowing = [p.part for p in programs if layout.secrets.mlflow_admin in p.env.values()]
    assert knowing == [Part.MLFLOW]


def test_the_callers_airflow_settings_win(layout: Layout, paths: Paths) -> None:
    assert airflow_env(layout, paths, {"PODIUM_HOME": "/x"})["PODIUM_HOME"] == "/x"


def test_foreign_settings_do_not_reach_the_programs() -> None:
    env = base_env(
        {
            "AWS_ACCESS_KEY_ID": "real",
            "AIRFLOW__CORE__FERNET_KEY": "x",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PODIUM_LEDGER_OWNER_URL": "postgresql://owner:x@production/ledger",
            "AIRFLOW_CONN_MAIL": "smtp://",
            "NO_PROXY": "corp",
            "HTTPS_PROXY": "http://proxy",
        }
    )
    assert not {"AWS_ACCESS_KEY_ID", "AIRFLOW__CORE__FERNET_KEY", "PYTHONDONTWRITEBYTECODE"} & set(env)
    assert "PODIUM_LEDGER_OWNER_URL" not in env
    assert env["AIRFLOW_CONN_MAIL"] == "smtp://"
    assert env["HTTPS_PROXY"] == "http://proxy"
    assert env["NO_PROXY"] == "corp,127.0.0.1,localhost"


def test_airflow_alone_gets_the_callers_own_s3(layout: Layout, paths: Paths) -> None:
    callers = {"AWS_ENDPOINT_URL": "https://rows.example.com", "AWS_ACCESS_KEY_ID": "mine", "HOME": "/me"}
    assert own_s3(callers) == {name: callers[name] for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID")}
    home = PostgresHome(layout.postgres_home, own_binaries=False, user=None)
    for program in all_programs(layout, paths, home, own_s3(callers)):
        is_airflow = program.part not in (Part.POSTGRES, Part.S3, Part.MLFLOW)
        assert (program.env.get("AWS_ENDPOINT_URL") == "https://rows.example.com") is is_airflow
        assert ("mine" in program.env.values()) is is_airflow


def test_a_stack_is_started_with_the_callers_own_s3(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, str] = {}

    def prepare(*arguments: Any) -> None:
        given.update(arguments[2])
        raise StackError("seen")

    monkeypatch.setattr(control, "_prepare", prepare)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    with pytest.raises(StackError, match="seen"):
        control.start(paths, Console(quiet=True), extra_airflow_env={"A": "b"}, detached=True)
    assert (given["AWS_ACCESS_KEY_ID"], given["A"]) == ("mine", "b")


def test_database_urls_name_the_driver(layout: Layout) -> None:
    assert client_env(layout)["PODIUM_LEDGER_URL"].startswith("postgresql+psycopg2://podium:")
    assert layout.ledger_url.endswith("@127.0.0.1:25100/ledger")
    assert client_env(layout)["PODIUM_LEDGER_SERVER_URL"] == layout.ledger_server_url
    assert layout.ledger_server_url.startswith("postgresql+psycopg2://podium_server:")
    assert layout.ledger_server_url.endswith("@127.0.0.1:25100/ledger")
    assert layout.ledger_owner_url.startswith("postgresql+psycopg2://ledger_owner:")
    assert layout.ledger_owner_url.endswith("@127.0.0.1:25100/ledger")


def test_the_ledgers_owner_is_known_to_the_stack_alone(
    layout: Layout, paths: Paths, programs: tuple[Program, ...]
) -> None:
    password = layout.secrets.db_ledger_owner
    assert password in layout.secrets.values()
    assert password != layout.secrets.db_podium
    write_config(programs, paths, layout.socket)
    written = [path.read_text() for path in paths.run.iterdir()]
    environments = [client_env(layout), airflow_env(layout, paths, {}), *(p.env for p in programs)]
    values = [value for env in environments for value in env.values()]
    assert not [text for text in [*written, *values] if password in text or "ledger_owner" in text]


def test_layout_survives_and_is_private(paths: Paths, layout: Layout) -> None:
    save_layout(paths, layout)
    assert paths.layout.stat().st_mode & 0o777 == 0o600
    assert load_layout(paths) == layout


def test_a_layout_of_an_earlier_version_gets_the_ledgers_later_roles_once(
    paths: Paths, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "socket_path", lambda *_: layout.socket)
    earlier = json.loads(layout.model_dump_json())
    del earlier["secrets"]["db_ledger_owner"]
    del earlier["secrets"]["db_podium_server"]
    del earlier["secrets"]["people"]["viewer"]
    paths.layout.write_text(json.dumps(earlier))

    started = control._prepare(paths, ALL_PARTS, {}, Console(quiet=True)).layout
    kept = load_layout(paths)
    again = control._prepare(paths, ALL_PARTS, {}, Console(quiet=True)).layout

    assert len(started.secrets.db_ledger_owner) >= 32
    assert len(started.secrets.db_podium_server) >= 32
    assert kept is not None
    assert len(kept.secrets.people["viewer"]) >= 12
    assert kept.secrets == started.secrets == again.secrets
    assert started.secrets.db_podium == layout.secrets.db_podium
    written = paths.client_env.read_text()
    assert started.secrets.db_podium in written
    assert started.secrets.db_podium_server in written
    assert started.secrets.db_ledger_owner not in written


def test_a_damaged_layout_is_named(paths: Paths) -> None:
    paths.layout.write_text("{")
    with pytest.raises(StackError, match=r"layout\.json is damaged"):
        load_layout(paths)


def test_empty_s3_keys_are_refused(layout: Layout) -> None:
    with pytest.raises(ValidationError):
        Secrets.model_validate(layout.secrets.model_dump() | {"s3_key": ""})


def test_repr_shows_no_secret(layout: Layout, paths: Paths, programs: tuple[Program, ...]) -> None:
    shown = repr(layout) + repr(stack_of(paths.state_dir, layout, was_running=False)) + repr(programs)
    assert not [secret for secret in layout.secrets.values() if secret in shown]


def test_ports_are_kept_while_they_are_free() -> None:
    assert choose_ports(PORTS, {}, Path("/s"), free=lambda _: True) == PORTS


def test_a_port_taken_by_somebody_else_is_chosen_anew() -> None:
    chosen = choose_ports(PORTS, {}, Path("/s"), free=lambda port: port != PORTS.mlflow)
    assert chosen.mlflow != PORTS.mlflow
    assert chosen.airflow == PORTS.airflow


@pytest.mark.parametrize("taken", [PORTS.s3 + 8, PORTS.s3 + 10_008])
def test_s3_needs_its_whole_block(taken: int) -> None:
    chosen = choose_ports(PORTS, {}, Path("/s"), free=lambda port: port != taken)
    assert taken not in occupied_by("s3", chosen.s3)


def test_the_environment_decides_a_port() -> None:
    env = {"PODIUM_AIRFLOW_PORT": "8080"}
    assert choose_ports(PORTS, env, Path("/s"), free=lambda _: True).airflow == 8080


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"PODIUM_MLFLOW_PORT": "web"}, "PODIUM_MLFLOW_PORT='web' is not a port number"),
        ({"PODIUM_S3_PORT": "9000"}, "from 20000 to 55000"),
        ({"PODIUM_AIRFLOW_PORT": "8080"}, "PODIUM_AIRFLOW_PORT=8080: port 8080 is taken"),
    ],
)
def test_an_impossible_port_is_named(env: dict[str, str], message: str) -> None:
    with pytest.raises(StackError, match=message):
        choose_ports(None, env, Path("/s"), free=lambda port: port != 8080)


def test_a_listening_port_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_long_state_path_gets_a_short_private_socket(tmp_path: Path) -> None:
    deep = Paths(tmp_path / ("d" * 60) / ("e" * 60))
    first = socket_path(deep, None)
    try:
        assert len(str(first)) < 60
        assert first.parent.stat().st_mode & 0o777 == 0o700
        assert socket_path(deep, first) == first
    finally:
        first.parent.rmdir()
    again = socket_path(deep, first)
    assert again != first
    again.parent.rmdir()


def test_needs_of_parts() -> None:
    assert with_needs(frozenset({Part.MLFLOW})) == {Part.MLFLOW, Part.POSTGRES, Part.S3}
    assert Part.POSTGRES in with_needs(frozenset({Part.SCHEDULER}))


@pytest.fixture
def sitting_there(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    shell = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    yield program, shell
    for process in (program, shell):
        process.kill()
        process.wait()


def test_only_our_programs_in_our_folder_are_ended(
    tmp_path: Path, sitting_there: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]
) -> None:
    program, bystander = sitting_there
    elsewhere = orphans.Footprint.of([tmp_path / "other"], [Path(sys.executable)])
    assert orphans.find(elsewhere) == []
    ours = orphans.Footprint.of([tmp_path], [Path(sys.executable)])
    assert [process.pid for process in orphans.find(ours)] == [program.pid]
    assert orphans.end_all(ours) == 1
    assert bystander.poll() is None


def test_we_never_end_ourselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = orphans.find(orphans.Footprint.of([tmp_path], [Path(sys.executable)]))
    assert os.getpid() not in {process.pid for process in found}


def test_a_failed_part_shows_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "mlflow.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    text = str(PartFailedError("mlflow", "it ended", log))
    assert text.startswith("mlflow did not come up: it ended.")
    assert "line 99" in text
    assert "line 10\n" not in text
    assert str(log) in text


def test_clean_touches_no_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StackError, match="nothing was removed"):
        clean(Paths(tmp_path))
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("keep_secrets", [False, True])
def test_a_stack_whose_removal_was_stopped_anywhere_does_not_start(
    paths: Paths, layout: Layout, monkeypatch: pytest.MonkeyPatch, *, keep_secrets: bool
) -> None:
    save_layout(paths, layout)
    (paths.backups / "monday").mkdir(parents=True)
    folders = [entry for entry in paths.state_dir.iterdir() if entry.is_dir() and entry != paths.backups]
    real = shutil.rmtree
    for _ in folders[1:]:
        removed: list[Path] = []

        def stopped(folder: Path, removed: list[Path] = removed) -> None:
            if removed:
                raise KeyboardInterrupt
            removed.append(folder)
            real(folder)

        with monkeypatch.context() as patch:
            patch.setattr(control.shutil, "rmtree", stopped)
            with pytest.raises(KeyboardInterrupt):
                clean(paths, keep_secrets=keep_secrets)
        with pytest.raises(StackError, match="did not end: remove what is left with 'make clean'"):
            backups.refuse_half_restored(paths)
        assert not keep_secrets or load_layout(paths) == layout
    assert clean(paths, keep_secrets=keep_secrets)
    backups.refuse_half_restored(paths)
    there = {"backups", "layout.json"} if keep_secrets else {"backups"}
    assert {entry.name for entry in paths.state_dir.iterdir()} == there
