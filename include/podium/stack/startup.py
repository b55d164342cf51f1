"""Start the parts in order, wait until each really works, and say how long it took."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

from rich.console import Console
from rich.text import Text

from podium.errors import PartFailedError, StackError
from podium.names import RETENTION
from podium.operations.mlflow_accounts import MlflowAdmin
from podium.operations.mlflow_server import PROMOTER, READER
from podium.operations.postgres_roles import LEDGER_APP_ROLE, LEDGER_SERVER_ROLE
from podium.stack import postgres
from podium.stack.environment import accounts_env, airflow_env, base_env
from podium.stack.layout import Layout, Paths, repo_root, save_layout
from podium.stack.parts import AIRFLOW_PARTS, Part
from podium.stack.postgres import PostgresHome
from podium.stack.probes import Probe, probe_of
from podium.stack.store_doors import assert_keys_enforced
from podium.stack.supervision import PartState, Supervisor

# MLflow takes 15-45 s on two busy cores; the limits are for machines that are stuck, not slow.
_LIMIT_SECONDS: Mapping[Part, float] = {Part.POSTGRES: 60.0, Part.S3: 60.0}
_DEFAULT_LIMIT_SECONDS = 240.0
_MIGRATE = "airflow-db"
_MAX_STARTS = 2


@dataclass(frozen=True)
class Plan:
    """Everything that a start needs to know."""

    paths: Paths
    layout: Layout
    home: PostgresHome
    supervisor: Supervisor
    parts: frozenset[Part]
    extra_airflow_env: Mapping[str, str] = field(repr=False)


@dataclass
class _Pending:
    probe: Probe
    started: float
    limit: float
    on_ready: Callable[[], None] | None = None
    seen_starts: set[int] = field(default_factory=set)
    last_answer: str = "not checked yet"


class StartUp:
    """Starts parts and waits for several of them at once, in one thread: Ctrl-C works at any moment."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._pending: dict[str, _Pending] = {}

    def begin(self, part: Part, on_ready: Callable[[], None] | None = None) -> None:
        """Start one part; `wait` tells when it is ready.

        The store is ready only when it was seen to turn strangers away, and is stopped if it does not.
        """
        if part is Part.S3:
            on_ready = self._assert_store_closed
        limit = _LIMIT_SECONDS.get(part, _DEFAULT_LIMIT_SECONDS)
        probe = probe_of(part, self._plan.layout, datetime.now(UTC))
        self._pending[part.value] = _Pending(probe, time.monotonic(), limit, on_ready)
        self._plan.supervisor.start(part)

    def _assert_store_closed(self) -> None:
        try:
            assert_keys_enforced(self._plan.paths, self._plan.layout)
        except StackError as error:
            self._plan.supervisor.stop([Part.S3])
            log = self._plan.paths.log_of(Part.S3)
            raise StackError(f"{error} It was stopped; its log is {log}") from error

    def begin_migration(self, on_ready: Callable[[], None]) -> None:
        """Migrate Airflow's database and make its roles and accounts, beside the other parts."""
        plan = self._plan
        env = base_env(os.environ) | airflow_env(plan.layout, plan.paths, plan.extra_airflow_env)
        env |= accounts_env(plan.layout)
        log = plan.paths.log_of(_MIGRATE)
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            process = subprocess.Popen(
                (sys.executable, "-m", "podium_airflow.initialise"),
                cwd=plan.paths.run,
                env=env,
                umask=0o077,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

        def probe() -> str | None:
            code = process.poll()
            if code:
                raise PartFailedError(_MIGRATE, f"'podium_airflow.initialise' ended with code {code}", log)
            return None if code == 0 else "'podium_airflow.initialise' is still at work"

        self._pending[_MIGRATE] = _Pending(probe, time.monotonic(), _DEFAULT_LIMIT_SECONDS, on_ready)

    def wait(self, *names: str) -> None:
        """Wait until the named parts, or all that were begun, are ready.

        Raises:
            PartFailedError: one of them ended or did not answer in time.
        """
        with self._console.status("") as status:
            while waiting := [name for name in self._pending if not names or name in names]:
                status.update(Text(f"waiting for {', '.join(waiting)}"))
                if not self._poll():
                    time.sleep(0.15)

    def _poll(self) -> bool:
        states = self._plan.supervisor.states()
        ready = [name for name, pending in self._pending.items() if self._is_ready(name, pending, states)]
        for name in ready:
            pending = self._pending.pop(name)
            if pending.on_ready is not None:
                pending.on_ready()
            self._console.print(f"  {name:<14} ready {time.monotonic() - pending.started:5.1f} s")
        return bool(ready)

    def _is_ready(self, name: str, pending: _Pending, states: Mapping[Part, PartState]) -> bool:
        log = self._plan.paths.log_of(name)
        state = states.get(Part(name)) if name != _MIGRATE else None
        if state is not None:
            if state.started:
                pending.seen_starts.add(state.started)
            if state.state == "FATAL" or len(pending.seen_starts) > _MAX_STARTS:
                raise PartFailedError(name, "it exits right after its start", log)
        if time.monotonic() - pending.started > pending.limit:
            raise PartFailedError(name, f"not ready after {pending.limit:.0f} s ({pending.last_answer})", log)
        if name != _MIGRATE and (state is None or not state.pid):
            return False
        answer = pending.probe()
        pending.last_answer = answer or ""
        return answer is None


def bring_up(plan: Plan, console: Console) -> None:
    """Start the planned parts on a supervisor that runs already."""
    startup = StartUp(plan, console)
    if Part.S3 in plan.parts:
        startup.begin(Part.S3)
    if Part.POSTGRES in plan.parts:
        _bring_up_postgres(plan, startup)
    if plan.parts & AIRFLOW_PARTS:
        _begin_airflow(plan, startup)
    if Part.MLFLOW in plan.parts:
        startup.begin(Part.MLFLOW, on_ready=lambda: _make_mlflow_accounts(plan.layout))
    if Part.POSTGRES in plan.parts:
        from podium.ledger import store  # imports SQLAlchemy: while MLflow and Airflow start anyway

        store.migrate(
            plan.layout.ledger_owner_url,
            app_role=LEDGER_APP_ROLE,
            server_role=LEDGER_SERVER_ROLE,
            tell=lambda said: console.print(f"  {said}"),
        )
    startup.wait()


def _bring_up_postgres(plan: Plan, startup: StartUp) -> None:
    if postgres.initialise(plan.home, plan.layout):
        save_layout(plan.paths, plan.layout.model_copy(update={"migrated_airflow": ""}))
    startup.begin(Part.POSTGRES)
    startup.wait(Part.POSTGRES.value)
    postgres.create_databases(plan.layout)


def _begin_airflow(plan: Plan, startup: StartUp) -> None:
    wanted = _airflow_as_prepared(plan.layout)

    def start_parts() -> None:
        save_layout(plan.paths, plan.layout.model_copy(update={"migrated_airflow": wanted}))
        for part in sorted(plan.parts & AIRFLOW_PARTS, key=list(Part).index):
            startup.begin(part)

    if plan.layout.migrated_airflow == wanted and (plan.home.data / "PG_VERSION").is_file():
        start_parts()
    else:
        startup.begin_migration(on_ready=start_parts)


def _airflow_as_prepared(layout: Layout) -> str:
    """Name the versions whose migrations, and the roles and accounts, that Airflow's database needs."""
    roles = (repo_root() / "plugins" / "podium_airflow" / "roles.py").read_bytes()
    # Their passwords too: a rotated one must be given to its account.
    accounts = repr(sorted(accounts_env(layout).items())).encode()
    parts = [version("apache-airflow"), version("apache-airflow-providers-fab")]
    return " ".join([*parts, hashlib.sha256(roles + accounts).hexdigest()[:12]])


def _make_mlflow_accounts(layout: Layout) -> None:
    secrets = layout.secrets
    passwords = {
        PROMOTER: secrets.mlflow_podium,
        READER: secrets.mlflow_reader,
        RETENTION: secrets.mlflow_retention,
    }
    MlflowAdmin(layout.mlflow_url, secrets.mlflow_admin).make_accounts(passwords)
