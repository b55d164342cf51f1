"""A second stack, restored from a backup that was made of the first while its champions moved."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from podium.ledger import custody
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.live_answers import LiveCount, LiveStore
from podium.ledger.watch_counts import Counts, tell_watched
from podium.lifecycle.ramped import ramp_terms
from podium.lifecycle.retention import Done, run_retention
from podium.model_file.ramp import EachStep, RampSpec
from podium.model_file.spec import ModelSpec
from podium.model_file.watch import WatchSpec
from podium.monitoring.ramp import begin_ramp, step_ramp
from podium.monitoring.watch_record import judge_window
from podium.names import RETENTION
from podium.operations.backup.index import Index, read_index
from podium.registry.disposal import Disposal, Login
from podium.registry.model_files import load_model
from podium.services import Services, connect
from podium.settings import PROJECT_ROOT
from podium.stack import backups, control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.running_stack import Stack, running_stack
from podium.versions import verified
from support.command_line import stack_command
from support.monitored import record_windows
from support.patience import PATIENCE_SECONDS
from support.places import MODELS
from support.retained import RULES, add_version, crown, later, loads
from support.serving import as_server
from support.steps import TRAINED, decide, new_run, nominate_unjudged, promote_as_of, roll_back, train
from support.toy import TOY

OLD = "toy-restored"
COPY = PROJECT_ROOT / ".podium" / "test-copy"
QUIET = Console(file=StringIO())
MIDNIGHT = datetime.combine(datetime.now(UTC).date(), time(), UTC)
DATES = (MIDNIGHT - timedelta(days=40), MIDNIGHT - timedelta(days=20))
ROWS = pd.DataFrame({"x": [-2.0, -0.1, 0.0, 0.3, 4.0]})
SPEC = ModelSpec.model_validate(
    {**TOY, "name": "toy-copied", "data": {**TOY["data"], "source": str(MODELS / "toy.csv")}}
)
RAMPED = SPEC.model_copy(update={"ramp": RampSpec(each=EachStep(rows=10))})


@dataclass(frozen=True)
class Copied:
    """What was copied, and where to.

    Attributes:
        source: The ledger's events when the backup was made, as the source has them.
        answers: Of the champion of ``SPEC`` at that time, to ``ROWS``.
        counted: The rows that a model server counted before the backup was made.
        moves: How often that champion moved while the backup was made.
        said: What the commands printed.
    """

    stack: Stack
    folder: Path
    index: Index
    source: Sequence[Event]
    answers: Sequence[Any]
    counted: LiveCount
    moves: int
    said: dict[str, subprocess.CompletedProcess[str]]


def parts_of(stack: Stack, patch: pytest.MonkeyPatch) -> Services:
    for name, value in stack.client_env().items():
        patch.setenv(name, value)
    return connect()


def answers_of(services: Services, number: int) -> list[Any]:
    events = services.ledger.history(SPEC.name)
    with verified(services, events, SPEC.name, number) as (folder, _):
        return load_model(folder).predict(ROWS).tolist()


def copy(stack: Stack, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Copied]:
    """Back a stack up, and run a copy of it: Postgres, S3 and MLflow."""
    services = parts_of(stack, patch)
    for as_of in DATES:
        TRAINED[as_of] = train(services, SPEC, as_of)
    promote_as_of(services, SPEC, DATES[0])
    raise_a_share(services)
    judge_a_window(services)
    roll_back(services, SPEC)
    counted = count_rows(services)
    record_windows(services, SPEC.name, 1, [0.0, 0.0, 4.0, 4.0, 4.0])
    retention = Disposal(stack.mlflow_url, Login(RETENTION, _layout(stack).secrets.mlflow_retention))
    with_old_versions(services, retention, patch)
    with moving(services) as moved:
        said = {"backup": stack_command(stack.state_dir, "backup", "--to", str(folder))}
        assert said["backup"].returncode in (0, 3), said["backup"].stdout + said["backup"].stderr
        index = read_index(folder)
    source = [event for event in services.ledger.record() if event.seq <= index.ledger_events]
    assert let_go(services, retention, patch, days=15).deleted == [4, 5]
    assert not loads(services, OLD, 4)
    answers = answers_of(services, index.champions[SPEC.name])

    control.clean(Paths(COPY))
    assert killed_at_the_databases(folder) == -signal.SIGKILL
    said["up after a kill"] = stack_command(COPY, "up")
    control.clean(Paths(COPY))
    for name in ("restore", "restore again"):
        said[name] = stack_command(COPY, "restore", "--from", str(folder))
    with running_stack(COPY, parts={"mlflow"}) as second:
        yield Copied(second, folder, index, source, answers, counted, len(moved), said)


def _layout(stack: Stack) -> Layout:
    layout = load_layout(Paths(stack.state_dir))
    assert layout is not None
    return layout


def with_old_versions(services: Services, retention: Disposal, patch: pytest.MonkeyPatch) -> None:
    """Make versions of ``OLD``: v2 is champion, v1 was, v3 is deleted, v4 in quarantine, v5 half deleted."""
    for _ in range(4):
        add_version(services, OLD)
    crown(services, OLD, 1)
    crown(services, OLD, 2, 1)
    assert let_go(services, retention, patch).quarantined == [3]
    assert let_go(services, retention, patch, days=15).deleted == [3]
    for _ in range(2):
        add_version(services, OLD)
    assert let_go(services, retention, patch).quarantined == [4, 5]
    begun = {"place": services.registry.version(OLD, 5).source.removeprefix("models:/"), "mlflow_run": ""}
    services.ledger.append(NewEvent(EventKind.DELETION_STARTED, OLD, 5, details=begun))
    with patch.context() as killed:
        killed.setattr(Disposal, "files", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            let_go(services, retention, patch)


def let_go(services: Services, retention: Disposal, patch: pytest.MonkeyPatch, days: float = 0) -> Done:
    """Run retention of ``OLD`` so many days from now."""
    with patch.context() as ahead:
        ahead.setattr(custody, "now", later(days))
        return run_retention(services, retention, OLD, RULES, new_run())


def raise_a_share(services: Services) -> None:
    """Let a second version go two steps up its ramp, as two processes of servers saw it, and back to 0."""
    run, terms = new_run(), ramp_terms(RAMPED)
    assert terms is not None
    nominate_unjudged(services, RAMPED, DATES[1], run)
    decide(services, RAMPED, run)
    first = begin_ramp(services, SPEC.name, run, terms, (5, 25, 50))
    assert first is not None
    for counts in (Counts(6, 6, new_failed=1), Counts(12, 12, new_failed=1), Counts(60, 60, new_failed=30)):
        for process in ("a", "b"):
            tell_watched(as_server(services).ledger, SPEC.name, first.seq, process, counts, "")
        step_ramp(services, SPEC.name, run)


def judge_a_window(services: Services) -> None:
    """Let the watch window of the second version end, as servers that counted in two processes see it."""
    watched = SPEC.model_copy(update={"watch": WatchSpec(rows=50, labelled_rows=0)})
    promoted = promote_as_of(services, watched, DATES[1])
    for process in ("a", "b"):
        counts = Counts(30, 30, new_failed=1)
        tell_watched(as_server(services).ledger, SPEC.name, promoted.seq, process, counts, "")
    assert judge_window(services, SPEC.name) is not None


def count_rows(services: Services) -> LiveCount:
    """Count rows as a model server does for the first version that was nominated."""
    (nominated, *_) = (
        event for event in services.ledger.history(SPEC.name) if event.event is EventKind.NOMINATED
    )
    counted = LiveCount(SPEC.name, "copied", nominated.seq, 1, int(nominated.version or 0), 7)
    LiveStore(as_server(services).ledger).add_count(counted)
    return counted


@contextmanager
def moving(services: Services) -> Iterator[list[Event]]:
    """Move the champion without a pause, and yield the moves."""
    moved: list[Event] = []
    ended = threading.Event()

    def move() -> None:
        while not ended.is_set():
            as_of = DATES[services.registry.champion(SPEC.name) == 1]
            moved.append(promote_as_of(services, SPEC, as_of))

    with ThreadPoolExecutor(1) as pool:
        mover = pool.submit(move)
        try:
            yield moved
        finally:
            ended.set()
        mover.result()


def killed_at_the_databases(folder: Path) -> int | None:
    from podium.operations.backup import databases

    return killed_at(databases, "restore_database", lambda: backups.restore(Paths(COPY), folder, QUIET))


def killed_at(module: Any, function: str, work: Callable[[], Any]) -> int | None:
    """Do some work in a process of its own, killed as it comes to a function; return its exit code."""

    def run() -> None:
        os.setsid()
        setattr(module, function, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        work()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(PATIENCE_SECONDS)
    return process.exitcode
