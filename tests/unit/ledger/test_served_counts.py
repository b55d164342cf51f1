"""What model servers count, a row a minute, by the one function that may write it down."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from podium.errors import Outage, PodiumError
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.served_counts import Minute, OnBins, Span, served_in, tell_counted
from podium.ledger.store import Ledger
from podium.stack.layout import Layout
from support.database import as_superuser, execute

MINUTE = timedelta(minutes=1)
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
SIZES = {"x": 4, "prediction": 3}
DAY = Span(NOW - timedelta(days=1), NOW + timedelta(days=1))


@pytest.fixture
def of(ledger: Ledger) -> OnBins:
    model = f"model-{uuid.uuid4().hex[:8]}"
    ledger.append(NewEvent(EventKind.REGISTERED, model, 2))
    return OnBins(model, 2, "b" * 64)


@pytest.fixture
def server(layout: Layout) -> Ledger:
    """The ledger as model servers log in to it."""
    return Ledger(layout.ledger_server_url)


def minute(of: OnBins, process: str = "a", at: datetime = NOW, lost: int = 0) -> Minute:
    counts = {"x": np.array([1, 0, 2, 1]), "prediction": np.array([0, 4, 0])}
    return Minute(of, process, at, rows=4, lost=lost, counts=counts)


def test_counts_add_up_over_minutes_and_processes_and_a_minute_counts_once(
    ledger: Ledger, server: Ledger, of: OnBins
) -> None:
    for told in (minute(of), minute(of, "b", lost=3), minute(of, at=NOW - MINUTE), minute(of)):
        tell_counted(server, told)
    served = served_in(ledger, of, DAY, SIZES)
    assert (served.rows, served.lost) == (12, 3)
    assert {name: counted.tolist() for name, counted in served.counts.items()} == {
        "x": [3, 0, 6, 3],
        "prediction": [0, 12, 0],
    }
    # A window holds its first minute, and not the one after it.
    assert served_in(ledger, of, Span(NOW - MINUTE, NOW), SIZES).rows == 4
    for other in (replace_digest(of), OnBins(of.model, 3, of.digest), OnBins("other", 2, of.digest)):
        assert served_in(ledger, other, DAY, SIZES).counts == {}


def replace_digest(of: OnBins) -> OnBins:
    return of._replace(digest="c" * 64)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM served_counts",
        "UPDATE served_counts SET lost = 9",
        "DELETE FROM served_counts",
        "INSERT INTO served_counts (model) VALUES ('x')",
    ],
)
def test_a_server_has_no_right_to_the_table_itself(layout: Layout, statement: str) -> None:
    with pytest.raises(Exception, match="permission denied"):
        execute(layout.ledger_server_url, statement)


def test_what_cannot_be_is_refused(server: Ledger, of: OnBins) -> None:
    for wrong, why in (
        (minute(OnBins(of.model, 3, of.digest)), "no such version is on record"),
        (minute(OnBins("other", 2, of.digest)), "no such version is on record"),
        (minute(of, at=NOW - timedelta(hours=3)), "not near to now"),
        (minute(of, at=NOW + timedelta(hours=1)), "not near to now"),
        (minute(of, at=NOW - timedelta(seconds=1)), "refused this"),
        (minute(of, "x" * 200), "refused this"),
        (minute(of._replace(digest="short")), "refused this"),
        (replace(minute(of), rows=-1), "refused this"),
        (replace(minute(of), lost=2**40), "refused this"),
    ):
        with pytest.raises(PodiumError, match=why):
            tell_counted(server, wrong)


@pytest.mark.parametrize("columns", ["x", "prediction, x, y"])
def test_counts_that_are_none_of_these_columns_are_named_by_their_process(
    ledger: Ledger, server: Ledger, of: OnBins, columns: str
) -> None:
    counts = {name: np.array([4, 0, 0]) for name in columns.split(", ")}
    tell_counted(server, replace(minute(of, "odd"), counts=counts))
    with pytest.raises(PodiumError, match=f"{of.model} v2: what the process odd of a model server counted"):
        served_in(ledger, of, DAY, SIZES)


def test_counts_that_do_not_add_up_to_the_rows_are_refused_by_who_reads_them(
    ledger: Ledger, server: Ledger, of: OnBins
) -> None:
    tell_counted(server, replace(minute(of), rows=5))
    with pytest.raises(PodiumError, match="does not add up to 5 rows"):
        served_in(ledger, of, DAY, SIZES)


def test_what_is_older_than_is_kept_is_deleted(
    ledger: Ledger, server: Ledger, of: OnBins, layout: Layout
) -> None:
    tell_counted(server, minute(of))
    old = f"UPDATE served_counts SET minute = minute - interval '101 days' WHERE model = '{of.model}'"  # noqa: S608
    as_superuser(layout, old, "ledger")
    tell_counted(server, minute(of, "b"))
    ever = Span(NOW - timedelta(days=200), DAY.end)
    assert served_in(ledger, of, ever, SIZES).rows == 4


def test_no_answer_is_an_outage(of: OnBins) -> None:
    with pytest.raises(Outage):
        tell_counted(Ledger("postgresql+psycopg2://podium_server:x@127.0.0.1:1/ledger"), minute(of))
