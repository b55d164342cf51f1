"""What batch scoring counts of a partition: replaced as a whole, added to by the window, and once."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from podium.errors import Outage, PodiumError
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.scored_counts import CountedPartition, OnBasis, keep_scored, scored_in
from podium.ledger.served_counts import Span
from podium.ledger.store import Ledger
from support.database import execute

DAY = timedelta(days=1)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PART = CountedPartition("a", "version 1", BEGAN, BEGAN, BEGAN + DAY, undated=3, whole=True)


@pytest.fixture
def of(ledger: Ledger) -> OnBasis:
    model = f"model-{uuid.uuid4().hex[:8]}"
    ledger.append(NewEvent(EventKind.REGISTERED, model, 2))
    return OnBasis(model, 2, "b" * 64)


def span(number: int) -> Span:
    return Span(BEGAN + number * DAY, BEGAN + (number + 1) * DAY)


def keep(ledger: Ledger, of: OnBasis, part: CountedPartition, rows: dict[int, int]) -> None:
    """Keep so many rows in each window."""
    keep_scored(ledger, of, part, [(span(number), {"rows": count}) for number, count in rows.items()])


def found(ledger: Ledger, of: OnBasis, number: int) -> dict[str, object]:
    return {
        name: kept.content and kept.content["rows"]
        for name, kept in scored_in(ledger, of, span(number)).items()
    }


def test_all_windows_of_a_partition_replace_what_was_kept_of_it(ledger: Ledger, of: OnBasis) -> None:
    keep(ledger, of, PART, {0: 1, 1: 2})
    keep(ledger, of, replace(PART, name="b"), {0: 9})
    (kept,) = (one for one in scored_in(ledger, of, span(1)).values() if one.partition.name == "a")
    assert (kept.partition, kept.content) == (PART, {"rows": 2})
    keep(ledger, of, PART, {0: 5})
    assert found(ledger, of, 0) == {"a": 5, "b": 9}
    assert found(ledger, of, 1) == {"a": None, "b": None}
    for other in (of._replace(basis="c" * 64), of._replace(version=3), of._replace(model="other")):
        assert scored_in(ledger, other, span(0)) == {}


def test_one_window_is_added_as_long_as_the_partition_is_the_same(ledger: Ledger, of: OnBasis) -> None:
    some = replace(PART, whole=False)
    keep(ledger, of, some, {0: 1})
    keep(ledger, of, some, {1: 2})
    assert [found(ledger, of, number) for number in (0, 1)] == [{"a": 1}, {"a": 2}]
    keep(ledger, of, replace(some, identity="version 2"), {1: 3})
    assert [found(ledger, of, number) for number in (0, 1)] == [{"a": None}, {"a": 3}]
    keep(ledger, of, replace(PART, identity="version 2"), {0: 4, 1: 4})
    keep(ledger, of, replace(some, identity="version 2"), {1: 4})
    kept = scored_in(ledger, of, span(0))["a"]
    assert kept.partition.whole, "what a window adds takes nothing from all of them"
    assert kept.content == {"rows": 4}


def test_of_many_at_once_one_remains_whole(ledger: Ledger, of: OnBasis) -> None:
    together = threading.Barrier(6)

    def run(number: int) -> None:
        together.wait()
        keep(ledger, of, replace(PART, undated=number), dict.fromkeys(range(number + 1), number))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))
    (last,) = {kept.partition.undated for kept in scored_in(ledger, of, span(0)).values()}
    assert [found(ledger, of, place)["a"] for place in range(7)] == [last] * (last + 1) + [None] * (6 - last)


def test_what_cannot_be_is_refused_and_leaves_what_was(ledger: Ledger, of: OnBasis) -> None:
    keep(ledger, of, PART, {0: 1})
    for wrong, part in (
        (of._replace(version=3), PART),
        (of._replace(basis="short"), PART),
        (of, replace(PART, name="x" * 2000)),
        (of, replace(PART, undated=-1)),
    ):
        with pytest.raises(PodiumError):
            keep_scored(ledger, wrong, part, [])
    assert found(ledger, of, 0) == {"a": 1}


def test_model_servers_neither_read_nor_write_them(ledger_server_url: str) -> None:
    call = "SELECT keep_scored('toy', 1, repeat('0', 64), 'a', '', now(), NULL, NULL, 0, true, '[]')"
    for statement in (call, "SELECT * FROM scored_counts", "SELECT * FROM scored_partitions"):
        with pytest.raises(Exception, match="permission denied"):
            execute(ledger_server_url, statement)


def test_a_ledger_that_is_away_is_an_outage(of: OnBasis) -> None:
    away = Ledger("postgresql+psycopg2://127.0.0.1:1/x")
    with pytest.raises(Outage):
        keep_scored(away, of, PART, [])
    with pytest.raises(Outage):
        scored_in(away, of, span(0))
