"""A process that stands still (a paused machine, a lost host) does not hold up the others for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from podium.ledger import store
from podium.ledger.chain import walk
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.stack.layout import Layout
from support.database import execute
from support.patience import PATIENCE_SECONDS

LIMIT_SECONDS = 2
HOLD = """
import os, sys
from podium.errors import Outage
from podium.ledger import store
store.APPENDING_IDLE_SECONDS = store.LOCK_IDLE_SECONDS = {limit}
ledger = store.Ledger(os.environ["PODIUM_LEDGER_URL"])
with {held} as held:
    print("holds", flush=True)
    sys.stdin.readline()
    try:
        held.{ask}
    except Exception as error:
        print(type(error).__name__, flush=True)
        os._exit(3)
    print("still holds", flush=True)
"""


@contextmanager
def holding(url: str, held: str, ask: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(limit=LIMIT_SECONDS, held=held, ask=ask)],
        env={"PODIUM_LEDGER_URL": url, "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield process
    finally:
        process.kill()
        process.wait()


def told_on(process: subprocess.Popen[str]) -> str:
    """What a process says about its lock, woken up."""
    said, _ = process.communicate("\n", timeout=PATIENCE_SECONDS)
    return said.strip()


def test_who_stands_still_while_appending_makes_the_others_wait_for_a_moment_only(
    own_ledger: Ledger, own_url: str
) -> None:
    with holding(own_url, "ledger._appending()", "scalar(store.sa.select(1))") as frozen:
        frozen.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        event = own_ledger.append(NewEvent(EventKind.REGISTERED, "toy", 1))
        assert time.monotonic() - began < LIMIT_SECONDS + PATIENCE_SECONDS
        assert (event.seq, walk(own_ledger.record()).difference) == (1, None)
        frozen.send_signal(signal.SIGCONT)
        assert told_on(frozen) != "still holds"


def test_who_stands_still_with_a_models_lock_loses_it_and_notices(own_ledger: Ledger, own_url: str) -> None:
    with holding(own_url, "ledger.lock('toy')", "assert_held()") as frozen:
        frozen.send_signal(signal.SIGSTOP)
        with own_ledger.lock("toy") as lock:
            lock.assert_held()
        frozen.send_signal(signal.SIGCONT)
        assert told_on(frozen) == "Outage"


def test_who_works_for_long_keeps_a_models_lock(
    own_ledger: Ledger, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_TIMEOUT_SECONDS", 2 * LIMIT_SECONDS)
    with holding(own_url, "ledger.lock('toy')", "assert_held()") as working:
        with pytest.raises(store.Outage, match="another process held the lock"), own_ledger.lock("toy"):
            pass
        assert told_on(working) == "still holds"


def test_a_host_that_is_lost_is_noticed_by_both_sides(own_url: str, own_ledger: Ledger) -> None:
    with own_ledger.engine.connect() as connection:
        for setting, seconds in {"idle": 30, "interval": 10, "count": 3}.items():
            assert connection.scalar(store.sa.text(f"SHOW tcp_keepalives_{setting}")) == str(seconds)
            told = connection.connection.dbapi_connection.get_dsn_parameters()  # type: ignore[union-attr]
            assert told[f"keepalives_{setting}"] == str(seconds)
    roles = execute(own_url, "SELECT count(*) FROM pg_roles WHERE 'tcp_keepalives_idle=30' = ANY (rolconfig)")
    assert roles >= [(1,)]


@pytest.fixture
def own_url(layout: Layout, empty_database: str) -> str:
    return layout.database_url("podium", empty_database)
