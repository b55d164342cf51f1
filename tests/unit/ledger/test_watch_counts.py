"""What model servers count in watch windows, by the one function that may write it down."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.errors import Outage, PodiumError
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, tell_watched, told_of
from podium.stack.layout import Layout
from support.database import execute


@pytest.fixture
def model() -> str:
    return f"model-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def promotion(ledger: Ledger, model: str) -> int:
    return ledger.append(NewEvent(EventKind.PROMOTED, model, 2, from_version=1)).seq


@pytest.fixture
def server(layout: Layout) -> Ledger:
    """The ledger as model servers log in to it."""
    return Ledger(layout.ledger_server_url)


def test_processes_are_told_apart_and_a_repeated_or_late_write_counts_nothing_twice(
    ledger: Ledger, server: Ledger, model: str, promotion: int
) -> None:
    first, later = Counts(10, 30, 1, 0, 2, 5, 1), Counts(20, 60, 3, 1, 2, 9, 2)
    for counts in (first, later, later, first):
        tell_watched(server, model, promotion, "a", counts, "")
    tell_watched(server, model, promotion, "b", first, "v1 is too large")
    told = told_of(ledger, model, promotion)
    assert [(one.process, one.counts, one.problem) for one in told] == [
        ("a", later, ""),
        ("b", first, "v1 is too large"),
    ]
    assert first.plus(later) == Counts(30, 90, 4, 1, 4, 14, 3)
    assert told_of(ledger, model, promotion + 1) == []


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_order_writes_come_in_the_newest_counts_stay(
    ledger: Ledger, server: Ledger, model: str, promotion: int, order: list[int]
) -> None:
    process = uuid.uuid4().hex
    for seen in order:
        tell_watched(server, model, promotion, process, Counts(seen, 2 * seen), "")
    (told,) = (one for one in told_of(ledger, model, promotion) if one.process == process)
    assert told.counts == Counts(max(order), 2 * max(order))


# One of three servers answers, writes, repeats its first write, or is killed and replaced.
HAPPENS = st.tuples(st.integers(0, 2), st.sampled_from(["answer", "write", "write again", "kill"]))


@given(st.lists(HAPPENS, max_size=25))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whichever_server_is_killed_when_what_was_written_is_summed_once(
    ledger: Ledger, server: Ledger, model: str, happened: list[tuple[int, str]]
) -> None:
    promotion = ledger.append(NewEvent(EventKind.PROMOTED, model, 2, from_version=1)).seq
    processes = [uuid.uuid4().hex for _ in range(3)]
    answered, written = dict.fromkeys(processes, 0), dict[str, list[int]]()
    for place, what in happened:
        process = processes[place]
        if what == "answer":
            answered[process] += 1
        elif what == "kill":
            processes[place] = uuid.uuid4().hex
            answered[processes[place]] = 0
        else:
            known = written.setdefault(process, [])
            seen = known[0] if what == "write again" and known else answered[process]
            tell_watched(server, model, promotion, process, Counts(seen, 2 * seen, new_failed=seen), "")
            known.append(seen)
    told = told_of(ledger, model, promotion)
    found = sum(one.counts.requests for one in told)
    assert found == sum(max(known) for known in written.values()) <= sum(answered.values())
    assert {one.process for one in told} == set(written)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM watch_counts",
        "UPDATE watch_counts SET new_failed = 9",
        "DELETE FROM watch_counts",
        "INSERT INTO watch_counts (model) VALUES ('x')",
    ],
)
def test_a_server_has_no_right_to_the_table_itself(layout: Layout, statement: str) -> None:
    with pytest.raises(Exception, match="permission denied"):
        execute(layout.ledger_server_url, statement)


@pytest.mark.parametrize(
    ("process", "counts"),
    [
        ("x" * 200, Counts()),
        ("a", Counts(requests=-1)),
        ("a", Counts(requests=2**62)),
        ("a", Counts(requests=5, new_failed=6)),
        ("a", Counts(requests=5, timed=2, slower=3)),
    ],
)
def test_what_cannot_be_is_refused(
    server: Ledger, model: str, promotion: int, process: str, counts: Counts
) -> None:
    with pytest.raises(PodiumError, match="refused this"):
        tell_watched(server, model, promotion, process, counts, "")


def test_there_is_no_window_without_a_promotion_on_record(
    ledger: Ledger, server: Ledger, model: str, promotion: int
) -> None:
    moved = ledger.append(NewEvent(EventKind.ROLLED_BACK, model, 1, from_version=2)).seq
    for name, seq in ((model, moved), ("another", promotion)):
        with pytest.raises(PodiumError, match="no such promotion or step of a ramp is on record"):
            tell_watched(server, name, seq, "a", Counts(), "")


def test_a_long_problem_is_cut_and_a_nul_left_out(
    ledger: Ledger, server: Ledger, model: str, promotion: int
) -> None:
    tell_watched(server, model, promotion, "a", Counts(), "\0long" * 1000)
    assert told_of(ledger, model, promotion)[0].problem == ("long" * 1000)[:500]


def test_no_answer_is_an_outage() -> None:
    with pytest.raises(Outage):
        tell_watched(
            Ledger("postgresql+psycopg2://podium_server:x@127.0.0.1:1/ledger"), "m", 1, "a", Counts(), ""
        )
