"""The stack as its users see it: addresses, logins, and a way to stop and start one part."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console

from podium.errors import StackError
from podium.operations import program
from podium.stack import control, postgres
from podium.stack.environment import client_env
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.parts import ALL_PARTS, Part
from podium.stack.startup import Plan, StartUp
from podium.stack.supervision import Supervisor


@dataclass(frozen=True)
class Stack:
    """A running embedded stack.

    Attributes:
        ledger_url: holds a password; no password is shown by repr.
        passwords: of Airflow's people: viewer, operator, approver, admin.
        logs: one file per part, and below `airflow/` those of the tasks.
        was_running: it was found running, and will be left running.
    """

    airflow_url: str
    mlflow_url: str
    ledger_url: str = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)
    mlflow_reader_password: str = field(repr=False)
    state_dir: Path
    logs: Path
    was_running: bool = False

    def client_env(self) -> dict[str, str]:
        """Return what a client on this machine needs in its environment, as in `client.env`."""
        return client_env(self._layout())

    def stop_part(self, name: str) -> None:
        """Stop one part and wait until it is gone. Reversible: `start_part`."""
        self._supervisor().stop([Part(name)])

    def start_part(self, name: str) -> None:
        """Start one part and wait until it answers.

        Raises:
            PartFailedError: it does not.
        """
        paths, layout = Paths(self.state_dir), self._layout()
        home = postgres.choose_home(paths, layout.postgres_home)
        plan = Plan(paths, layout, home, self._supervisor(), frozenset({Part(name)}), {})
        startup = StartUp(plan, Console(quiet=True))
        startup.begin(Part(name))
        startup.wait()

    def _layout(self) -> Layout:
        layout = load_layout(Paths(self.state_dir))
        if layout is None:
            raise StackError(f"There is no stack in {self.state_dir}: start it first.")
        return layout

    def _supervisor(self) -> Supervisor:
        return Supervisor(Paths(self.state_dir), self._layout().socket)


def stack_of(state_dir: Path, layout: Layout, *, was_running: bool) -> Stack:
    """Describe the stack of a state directory."""
    return Stack(
        airflow_url=layout.airflow_url,
        mlflow_url=layout.mlflow_url,
        ledger_url=layout.ledger_url,
        passwords=dict(layout.secrets.people),
        mlflow_reader_password=layout.secrets.mlflow_reader,
        state_dir=state_dir,
        logs=Paths(state_dir).logs,
        was_running=was_running,
    )


@contextmanager
def running_stack(
    state_dir: Path,
    *,
    extra_airflow_env: Mapping[str, str] | None = None,
    console: Console | None = None,
    parts: Collection[str] = ALL_PARTS,
) -> Iterator[Stack]:
    """Run the stack for the length of a with-block; an exception or a signal stops it as well.

    A stack that `up` left running in this state directory is used, and left running.

    Args:
        state_dir: keeps everything; made if missing.
        extra_airflow_env: added to the environment of the Airflow programs, and wins.
        console: shows the progress; None is silent.
        parts: what to start (default everything); what these need is added.

    Raises:
        StackBusyError: another process uses this state directory.
        PartFailedError: a part did not come up; everything was stopped again.
    """
    paths = Paths(state_dir.resolve())
    with program.signals_as_exit():
        started = control.start(
            paths,
            console or Console(quiet=True),
            parts=frozenset(map(Part, parts)),
            extra_airflow_env=extra_airflow_env or {},
            detached=False,
        )
        try:
            yield stack_of(paths.state_dir, started.layout, was_running=started.was_running)
        finally:
            if not started.was_running:
                control.stop(paths)


def memory_mib(state_dir: Path) -> int:
    """Return the resident memory of all processes of a stack, in MiB (shared pages count in each process)."""
    pids = {state.pid for state in control.status(Paths(state_dir.resolve())).values() if state.pid}
    total = 0
    for pid in pids - {os.getpid()}:
        try:
            root = psutil.Process(pid)
            total += sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total // 1024**2
