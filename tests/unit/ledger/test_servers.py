"""What model servers say of themselves, by the one function that may write it down."""

from __future__ import annotations

import uuid

import pytest

from podium.errors import Outage, PodiumError
from podium.ledger.servers import Served, Server, following, servers_of, tell
from podium.ledger.store import Ledger
from podium.stack.layout import Layout
from support.database import execute


@pytest.fixture
def model() -> str:
    return f"model-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def server(layout: Layout) -> Ledger:
    """The ledger as model servers log in to it."""
    return Ledger(layout.ledger_server_url)


def seen(layout: Layout, model: str) -> list[Server]:
    return servers_of(Ledger(layout.ledger_url), [model])[model]


def later(layout: Layout, model: str, interval: str, process: int = 1) -> None:
    execute(
        layout.ledger_owner_url,
        "UPDATE servers SET at = at - CAST(%s AS interval) WHERE model = %s AND process = %s",
        interval,
        model,
        process,
    )


def test_servers_are_current_behind_or_silent(layout: Layout, server: Ledger, model: str) -> None:
    for name, version, problem in (("a:1", 7, ""), ("b:1", 6, "v7 is loading"), ("c:1", None, "nothing")):
        tell(server, name, 1, [Served(model, version, problem)])
    tell(server, "d:1", 2, [Served(model, 7, "")])
    later(layout, model, "4 minutes", process=2)
    found = following(seen(layout, model), 7)
    assert [of.name for of in found.current] == ["a:1"]
    assert [(of.name, of.versions, of.problem) for of in found.behind] == [
        ("b:1", (6,), "v7 is loading"),
        ("c:1", (None,), "nothing"),
    ]
    assert [of.name for of in found.silent] == ["d:1"]
    assert servers_of(Ledger(layout.ledger_url), ["another"]) == {"another": []}


def test_a_server_is_behind_while_one_of_its_processes_is(layout: Layout, server: Ledger, model: str) -> None:
    for process, version in ((1, 7), (2, 6)):
        tell(server, "a:1", process, [Served(model, version, "")])
    assert following(seen(layout, model), 7).behind[0].versions == (6, 7)
    later(layout, model, "4 minutes", process=2)
    assert [of.name for of in following(seen(layout, model), 7).current] == ["a:1"], (
        "another process took over"
    )


def test_who_ends_is_gone_and_what_it_serves_no_more_too(layout: Layout, server: Ledger, model: str) -> None:
    tell(server, "a:1", 1, [Served(model, 1, ""), Served(f"{model}-2", 1, "")])
    tell(server, "a:1", 1, [Served(model, 2, "")])
    assert seen(layout, f"{model}-2") == []
    assert seen(layout, model)[0].versions == (2,)
    tell(server, "a:1", 1, [])
    assert seen(layout, model) == []


def test_after_a_day_nobody_remembers_a_server(layout: Layout, server: Ledger, model: str) -> None:
    tell(server, "old:1", 1, [Served(model, 1, "")])
    later(layout, model, "25 hours")
    assert seen(layout, model) == []
    tell(server, "new:1", 1, [Served(model, 1, "")])
    rows = execute(layout.ledger_owner_url, "SELECT server FROM servers WHERE model = %s", model)
    assert rows == [("new:1",)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM servers",
        "INSERT INTO servers (server, process, model, problem, at) VALUES ('x', 1, 'y', '', now())",
        "UPDATE servers SET version = 9",
        "DELETE FROM servers",
    ],
)
def test_a_server_has_no_right_to_the_table_itself(server: Ledger, statement: str) -> None:
    with pytest.raises(PodiumError, match="permission denied"):
        with_errors(server, statement)


@pytest.mark.parametrize(
    "told",
    [
        ("x" * 400, [Served("model", 1, "")]),
        ("a:1", [Served("x" * 400, 1, "")]),
        ("a:1", [Served(f"model-{number}", 1, "") for number in range(20_001)]),
    ],
)
def test_what_would_stop_who_reads_is_refused(server: Ledger, told: tuple[str, list[Served]]) -> None:
    with pytest.raises(PodiumError, match="refused this"):
        tell(server, told[0], 1, told[1])


def test_a_long_problem_is_cut_and_a_nul_left_out(layout: Layout, server: Ledger, model: str) -> None:
    tell(server, "a:1", 1, [Served(model, None, "\0long" * 1000)])
    assert seen(layout, model)[0].problem == ("long" * 1000)[:500]


def test_no_answer_is_an_outage() -> None:
    with pytest.raises(Outage):
        tell(Ledger("postgresql+psycopg2://podium_server:x@127.0.0.1:1/ledger"), "a:1", 1, [])


def with_errors(ledger: Ledger, statement: str) -> None:
    from podium.ledger.store import outages

    with outages(), ledger.engine.begin() as connection:
        connection.exec_driver_sql(statement)
