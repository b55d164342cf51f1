"""Start, stop, inspect and remove the stack of one state directory."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from podium.errors import StackBusyError, StackError
from podium.operations import postgres_programs
from podium.operations.mlflow_server import SERVER_FOLDER
from podium.operations.private_files import write_private
from podium.operations.program import handled_by
from podium.stack import orphans, postgres, store_certificate
from podium.stack.environment import client_env, own_s3
from podium.stack.layout import (
    Layout,
    Paths,
    Secrets,
    create_folders,
    default_state_dir,
    load_layout,
    save_layout,
    socket_path,
)
from podium.stack.parts import ALL_PARTS, STORE_PARTS, Part, with_needs
from podium.stack.ports import Ports, choose_ports, is_free, occupied_by
from podium.stack.programs import all_programs
from podium.stack.startup import Plan, bring_up
from podium.stack.supervision import PartState, Supervisor, write_config

_KNOWN_ENTRIES = frozenset(
    {"lock", "run", "logs", "airflow", "s3", "postgres", "layout.json", "client.env", ".DS_Store"}
    | {"backups", "restoring"}
)


class Session(BaseModel):
    """Who started the running stack. No `owner_pid`: it was left running on purpose (`up`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner_pid: int | None
    owner_created: float
    parts: frozenset[Part]
    env_digest: str
    executables: tuple[Path, ...]

    def owner_alive(self) -> bool:
        """Tell whether the process that stops this stack at its end still lives."""
        if self.owner_pid is None:
            return False
        try:
            return abs(psutil.Process(self.owner_pid).create_time() - self.owner_created) < 1.0
        except psutil.NoSuchProcess:
            return False


class Started(BaseModel):
    """The outcome of `start`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Layout
    was_running: bool


@contextmanager
def locked(paths: Paths) -> Iterator[None]:
    """Hold the state directory's lock: one start or stop at a time. It ends with the process."""
    with os.fdopen(os.open(paths.state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackBusyError(
                f"The stack in {paths.state_dir} is being started or stopped right now."
            ) from error
        yield


@contextmanager
def _uninterrupted() -> Iterator[None]:
    with handled_by(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


def start(
    paths: Paths,
    console: Console,
    *,
    parts: frozenset[Part] = ALL_PARTS,
    extra_airflow_env: Mapping[str, str],
    detached: bool,
) -> Started:
    """Start the stack, or find that it runs already; on any failure stop everything again.

    Args:
        paths: the state directory's names.
        console: shows one line per part.
        parts: what to start; what these need is added.
        extra_airflow_env: added to the environment of the Airflow programs.
        detached: leave it running when this process ends.

    Raises:
        StackBusyError: another process uses this state directory.
        PartFailedError: a part did not come up.
    """
    parts = with_needs(parts)
    session = Session(
        owner_pid=None if detached else os.getpid(),
        owner_created=psutil.Process().create_time(),
        parts=parts,
        env_digest=hashlib.sha256(json.dumps(sorted(extra_airflow_env.items())).encode()).hexdigest(),
        executables=_executables(paths),
    )
    is_new = not paths.state_dir.exists()
    if is_new:
        create_folders(paths)
    with locked(paths):
        running = _running(paths, session)
        if running is not None:
            return Started(layout=running, was_running=True)
        lost = _stop(paths)
        if lost:
            console.print(f"  ended {lost} processes that an earlier run left behind")
        if is_new and _remove_fallback(paths):
            console.print("  removed the databases of a state directory that was here before and is gone")
        plan = _prepare(paths, parts, {**own_s3(os.environ), **extra_airflow_env}, console)
        try:
            write_private(paths.session, session.model_dump_json() + "\n")
            plan.supervisor.launch()
            bring_up(plan, console)
        except BaseException:
            with _uninterrupted():
                _stop(paths)
            raise
        return Started(layout=plan.layout, was_running=False)


def _running(paths: Paths, wanted: Session) -> Layout | None:
    layout, session = load_layout(paths), _load_session(paths)
    if layout is None or session is None or not Supervisor(paths, layout.socket).answers():
        return None
    if session.owner_alive():
        raise StackBusyError(f"The stack in {paths.state_dir} belongs to process {session.owner_pid}.")
    states = Supervisor(paths, layout.socket).states()
    if session.owner_pid is not None or not all(
        part in states and states[part].running for part in session.parts
    ):
        return None  # left behind, or broken: start anew
    if not wanted.parts <= session.parts or wanted.env_digest != session.env_digest:
        raise StackBusyError(
            f"The stack in {paths.state_dir} runs with other settings. Stop it first ('down')."
        )
    return layout


def _load_session(paths: Paths) -> Session | None:
    try:
        return Session.model_validate_json(paths.session.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def _prepare(paths: Paths, parts: frozenset[Part], extra: Mapping[str, str], console: Console) -> Plan:
    saved = load_layout(paths)
    if saved is None and ((paths.state_dir / "postgres").exists() or postgres.fallback_root(paths).exists()):
        raise StackError(f"{paths.layout} is lost, and with it the passwords of the data there: run 'clean'.")
    ports = choose_ports(saved.ports if saved else None, os.environ, paths.state_dir)
    create_folders(paths)
    home = postgres.choose_home(paths, saved.postgres_home if saved else None)
    layout = Layout(
        ports=ports,
        secrets=saved.secrets if saved else Secrets.generate(),
        socket=socket_path(paths, saved.socket if saved else None),
        postgres_home=home.home,
        migrated_airflow=saved.migrated_airflow if saved else "",
    )
    if home.own_binaries:
        console.print(f"  user {home.user} cannot reach {paths.state_dir}: postgres is in {home.home.parent}")
    save_layout(paths, layout)
    lines = [f"{name}={value}" for name, value in client_env(layout).items()]
    write_private(paths.client_env, "\n".join(lines) + "\n")
    if Part.S3 in parts:
        store_certificate.prepare(paths.run)
        # weed keeps the flags of a start there; they would open again what an earlier start had opened.
        (paths.s3 / "mini.options").unlink(missing_ok=True)
    write_config(all_programs(layout, paths, home, extra), paths, layout.socket)
    return Plan(paths, layout, home, Supervisor(paths, layout.socket), parts, extra)


def stop(paths: Paths) -> int:
    """Stop whatever runs for this state directory; return how many lost processes had to be ended.

    Its data stays.
    """
    if not paths.state_dir.is_dir():
        return 0
    with locked(paths), _uninterrupted():
        return _stop(paths)


def _stop(paths: Paths) -> int:
    layout = load_layout(paths)
    if layout is not None:
        supervisor = Supervisor(paths, layout.socket)
        if supervisor.answers():
            supervisor.stop(ALL_PARTS - STORE_PARTS)
            supervisor.stop(STORE_PARTS)
            supervisor.shutdown_and_wait()
    lost = orphans.end_all(_footprint(paths, layout))
    paths.session.unlink(missing_ok=True)
    if layout is not None:
        _remove_socket_files(layout.ports)
    return lost


def _remove_socket_files(ports: Ports) -> None:
    # weed names them after its ports, always in /tmp, and leaves them there when it is killed
    for port in filter(is_free, occupied_by("s3", ports.s3)):
        for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - named there by weed
            with suppress(OSError):
                socket_file.unlink()


def _executables(paths: Paths) -> tuple[Path, ...]:
    copies = postgres.fallback_root(paths).glob("*/*/pginstall18/bin/postgres")
    return (
        Path(sys.executable),
        postgres.weed_binary(),
        postgres_programs.packaged_bin() / "postgres",
        *copies,
    )


def _footprint(paths: Paths, layout: Layout | None) -> orphans.Footprint:
    """Recognise the processes of this state directory, those of the recorded session too (an older venv)."""
    homes = {paths.state_dir / "postgres", *([layout.postgres_home] if layout else [])}
    session = _load_session(paths)
    recorded = session.executables if session else ()
    return orphans.Footprint.of(
        [paths.run, paths.run / SERVER_FOLDER, *(home / "data" for home in homes)],
        [*_executables(paths), *recorded],
    )


def status(paths: Paths) -> dict[Part, PartState]:
    """Return the state of each part; STOPPED for all of them where nothing runs."""
    layout = load_layout(paths)
    states = Supervisor(paths, layout.socket).states() if layout else {}
    return {part: states.get(part, PartState(part, "STOPPED", 0, 0)) for part in Part}


def clean(paths: Paths, *, keep_secrets: bool = False) -> bool:
    """Stop the stack and remove its data, logs and secrets, but not its backups. Not reversible.

    State directories inside this one (the tests') go as well. Returns whether there was anything.

    Args:
        paths: the state directory's names.
        keep_secrets: leave ``layout.json``, for a restore that is tried again.

    Raises:
        StackError: the folder does not look like a state directory.
    """
    if not paths.state_dir.is_dir():
        orphans.end_all(_footprint(paths, None))
        return _remove_fallback(paths)
    if not _is_ours(paths.state_dir):
        raise StackError(f"{paths.state_dir} holds other things than a stack: nothing was removed.")
    for inner in paths.state_dir.glob("*/layout.json"):
        clean(Paths(inner.parent))
    layout = load_layout(paths)
    stop(paths)
    # Gone last: a stack that is half removed, or half restored, must not start.
    write_private(paths.restoring, "being removed\n")
    _remove_all_but(paths, {paths.backups, paths.restoring} | ({paths.layout} if keep_secrets else set()))
    _remove_fallback(paths)
    paths.restoring.unlink()
    if not any(paths.state_dir.iterdir()):
        paths.state_dir.rmdir()
    if layout is not None and layout.socket.parent != paths.run and layout.socket.parent.is_dir():
        shutil.rmtree(layout.socket.parent)
    return True


def _remove_all_but(paths: Paths, kept: set[Path]) -> None:
    for entry in paths.state_dir.iterdir():
        if entry in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _remove_fallback(paths: Paths) -> bool:
    """Remove what root keeps outside the state directory; its passwords are gone with that directory."""
    root = postgres.fallback_root(paths)
    if os.geteuid() != 0 or not root.exists():
        return False
    shutil.rmtree(root)
    return True


def _is_ours(folder: Path) -> bool:
    if folder == default_state_dir() or (folder / "layout.json").is_file():
        return True
    return all(
        entry.name in _KNOWN_ENTRIES or (entry / "layout.json").is_file() for entry in folder.iterdir()
    )
