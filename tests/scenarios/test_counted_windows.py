"""Windows of what real model servers counted: several processes, one killed, and a ledger that is away."""

from __future__ import annotations

import itertools
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.linear_model import LogisticRegression

from podium.ledger.events import EventKind
from podium.metrics.predictions import answer_streams
from podium.metrics.reference import Reference, make_reference, with_answers
from podium.metrics.windows import Window
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.monitoring.journal import Judged
from podium.monitoring.recompute import evidence_differences
from podium.monitoring.run import monitor_window
from podium.monitoring.verdicts import Said
from podium.names import Tag
from podium.services import Services
from podium.stack.layout import Layout
from support.patience import PATIENCE_SECONDS
from support.proxy import Proxy
from support.serve_process import APP, serve_process, wait_for
from support.serving import make_champion, register_model

FIVE_MINUTES, MINUTE = timedelta(minutes=5), timedelta(minutes=1)
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
# The database takes minutes of the last two hours.
BEGAN = NOW - timedelta(minutes=100 + NOW.minute % 5)
PAST, ROWS = 240, 40
EACH = 20
SECTION = {"windows": "*/5 * * * *", "rows": "server", "min_rows": 5, "alarms": {"at_most_one_in": 10}}
COUNTED = sa.text(
    "SELECT minute, process, row_count FROM served_counts WHERE model = :model AND minute >= :since "
    "ORDER BY minute, process"
)


@dataclass(frozen=True)
class Served:
    """A champion with its windows, whose servers share a clock.

    Attributes:
        services: The registry and the ledger.
        spec: Its model file.
        clock: The file with the moment.
        draws: Of the rows that clients send.
    """

    services: Services
    spec: ModelSpec
    clock: Path
    draws: np.random.Generator

    def set_clock(self, window: int, minute: int = 0) -> None:
        """Let it be so many minutes after the beginning of a window."""
        moment = self.clock.with_suffix(".new")
        moment.write_text((BEGAN + window * FIVE_MINUTES + minute * MINUTE).isoformat())
        moment.replace(self.clock)

    def ask(self, url: str, shift: float = 0.0) -> None:
        """Send some rows in one request, and look at the answer."""
        rows = [{"x": float(value)} for value in self.draws.normal(size=EACH) + shift]
        answer = httpx.post(f"{url}/predict", json=rows, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == EACH

    def counted(self, since: datetime = BEGAN) -> list[Any]:
        """Return what is written: a row for each minute of each process."""
        with self.services.ledger.engine.connect() as connection:
            return list(connection.execute(COUNTED, {"model": self.spec.name, "since": since}))

    def wait_until_counting(self, *urls: str) -> None:
        """Ask in the window before the first one, until each server has written a minute."""
        before = BEGAN - FIVE_MINUTES
        for minute in itertools.cycle(range(4)):
            self.set_clock(-1, minute)
            for url in urls:
                self.ask(url)
            self.set_clock(-1, minute + 1)
            time.sleep(0.5)
            if len({row.process for row in self.counted(before)}) == len(urls):
                return

    def judge(self, *windows: int) -> list[Judged]:
        """Judge these windows, and return all."""
        judged: list[Judged] = []
        for number in windows:
            start = BEGAN + number * FIVE_MINUTES
            judged = monitor_window(
                self.services, self.spec, Window(start, start + FIVE_MINUTES), f"monitor/{number}"
            )
        return judged


def reference(model: LogisticRegression) -> Reference:
    """Return what windows of five minutes before the first one are held against."""
    times = pd.Series(np.repeat(pd.date_range(BEGAN - PAST * FIVE_MINUTES, periods=PAST, freq="5min"), ROWS))
    rows = pd.DataFrame({"x": np.random.default_rng(1).normal(size=len(times))})
    answers = answer_streams(("no", "yes"), model.predict_proba(rows))
    made = [make_reference(frame, times, str(SECTION["windows"])) for frame in (rows, answers)]
    return with_answers(*made)


@pytest.fixture
def served(services: Services, toy_file: Callable[..., Path], tmp_path: Path) -> Served:
    name = f"served-{uuid.uuid4().hex[:8]}"
    draws = np.random.default_rng(2)
    rows = pd.DataFrame({"x": draws.normal(size=500)})
    label = np.where(rows["x"] + draws.normal(size=500) > 0, "yes", "no")
    model = LogisticRegression().fit(rows, label)
    trained = {Tag.AS_OF: BEGAN.replace(tzinfo=None).isoformat(), Tag.DATA_VERSION: "gone"}
    version = register_model(
        services, name, model, rows, classifies=True, reference=reference(model), **trained
    )
    make_champion(services, name, version)
    spec = load_spec(toy_file(name=name, monitoring=SECTION).rename(tmp_path / f"{name}.yaml"))
    found = Served(services, spec, tmp_path / "clock", draws)
    found.set_clock(-1)
    return found


@pytest.fixture
def proxies(layout: Layout) -> Iterator[list[Proxy]]:
    """Two doors to Postgres, that of all servers but the last one and that of the last one."""
    url = sa.make_url(layout.ledger_server_url)
    found = [Proxy(int(url.port or 0)) for _ in range(2)]
    yield found
    for proxy in found:
        proxy.close()


@contextmanager
def real_server(
    served: Served, layout: Layout, proxy: Proxy, log: Path
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server in a process of its own, by the test's clock, once it is ready."""
    login = sa.make_url(layout.ledger_server_url).set(port=proxy.port)
    environment = {"PODIUM_LEDGER_SERVER_URL": login.render_as_string(hide_password=False)}
    code = (
        "from pathlib import Path; from support.moved_clock import follow; "
        f"follow(Path({str(served.clock)!r})); {APP}"
    )
    with serve_process(served.spec.name, log, environment, code) as (process, url):
        wait_for(lambda: httpx.get(f"{url}/ready").status_code == 200)
        yield process, url


def rows_of(served: Served) -> int:
    return sum(row.row_count for row in served.counted())


def test_windows_of_several_servers_see_a_shift_and_miss_only_the_rows_of_one_that_was_killed(
    served: Served, layout: Layout, proxies: list[Proxy], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        doors = (proxies[0], proxies[0], proxies[1])
        (_, first), (_, second), (killed, third) = (
            stack.enter_context(real_server(served, layout, door, tmp_path / f"{number}.log"))
            for number, door in enumerate(doors)
        )
        served.wait_until_counting(first, second, third)
        served.set_clock(0)
        for url in (first, second, third):
            served.ask(url)
        served.set_clock(0, 2)
        wait_for(lambda: rows_of(served) == 3 * EACH)

        # The third server is killed with a minute that its ledger is too slow to take.
        proxies[1].delay_seconds = 2.0 * PATIENCE_SECONDS
        for url in (first, second, third):
            served.ask(url)
        killed.kill()
        killed.wait(PATIENCE_SECONDS)
        served.set_clock(1)
        wait_for(lambda: rows_of(served) == 5 * EACH)

        # The ledger is away for two windows: answers go on, their counts wait.
        proxies[0].cut()
        for window in (1, 2):
            served.set_clock(window)
            for url in (first, second):
                served.ask(url)
        served.set_clock(3)
        logs = [tmp_path / f"{number}.log" for number in range(2)]
        wait_for(lambda: all("waits to be written" in log.read_text() for log in logs))
        assert rows_of(served) == 5 * EACH
        proxies[0].mend()
        wait_for(lambda: rows_of(served) == 9 * EACH)

        for window in range(3, 7):
            served.set_clock(window)
            for url in (first, second):
                served.ask(url, shift=2.0)
        served.set_clock(7)
        wait_for(lambda: rows_of(served) == 17 * EACH)

    told = served.counted()
    assert len({row.process for row in told}) == 3
    assert {row.row_count for row in told} == {EACH}, "a row for each minute of each process"
    judged = served.judge(*range(8))
    assert [one.observation.rows for one in judged] == [5 * EACH, *[2 * EACH] * 6, 0]
    said = [one.moved.said for one in judged]
    assert said[:3] == [Said.NOTHING_SEEN] * 3, "rows that a killed server lost are no change"
    assert Said.MOVED in said[3:7]
    alarm = judged[said.index(Said.MOVED)]
    # Which streams are named depends on the rows: an input that shifts moves the answers too.
    assert alarm.moved.reason.endswith(" moved")
    assert (said[7], judged[7].moved.reason) == (Said.NOT_JUDGED, "no rows")
    assert evidence_differences(served.services.ledger, [served.spec.name]) == []
    (made,) = served.services.ledger.history(served.spec.name, kinds=[EventKind.REFERENCE_MADE])
    assert made.reason.endswith("made with the version")
