"""On its ramp a version answers the share of clients that the ledger says, beside the champion."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression
from sqlalchemy import make_url

from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, told_of
from podium.services import Services
from podium.serving import instruments, recorder, shadow, watch
from podium.serving.trial import in_canary
from podium.stack.layout import Layout
from podium.training.run import FromCode
from support import odd_script
from support.proxy import Proxy
from support.serving import Server, make_champion, register_model, serving
from support.trial import RECORDS, ROWS, nominate, predict, regression
from support.watched import beside, counted, promote_watched, ramp_end, ramp_step, watch_of

ODD = FromCode(Path(odd_script.__file__), {})
RAISES = {"x": 101.0, "z": 0.0}


@pytest.fixture
def model() -> str:
    return f"ramped-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(shadow, "SHARE_OF_TIME", 1.0)


def champion_and_approved(services: Services, model: str, approved: Any) -> int:
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    return register_model(services, model, approved, ROWS)


def client(model: str, at_least: float, below: float) -> str:
    """A client that a share of ``below`` percent reaches, and one of ``at_least`` does not."""
    names = (f"client-{number}" for number in range(10_000))
    return next(
        name for name in names if in_canary(model, name, below) and not in_canary(model, name, at_least)
    )


def answers(server: Server, client: str, record: dict[str, Any] | None = None) -> int:
    response = predict(server, [record or RECORDS[0]], **{"X-Client-Id": client})
    return int(response.headers["X-Model-Version"])


def at_share(server: Server, share: int | None) -> Server:
    def stands() -> bool:
        found = watch_of(server)
        return found.get("share") == share and (share is None or bool(found["loaded"]))

    server.wait_for(stands, f"a share of {share}")
    return server


def test_servers_follow_the_share_of_the_ledger_up_and_back_also_after_a_restart(
    services: Services, model: str
) -> None:
    number = champion_and_approved(services, model, regression(2))
    early, late, never = client(model, 0, 5), client(model, 5, 25), client(model, 50, 100)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        assert answers(server, early) == 1
        first = ramp_step(services, model, number, 5)
        at_share(server, 5)
        assert beside("podium_version", model) == 2, "on a ramp it is no previous champion"
        assert [answers(server, who) for who in (early, late, never)] == [2, 1, 1]
        server.wait_for(lambda: counted(services, first) == Counts(1, 1), "the clients of v2 alone")
        ramp_step(services, model, number, 25, first)
        at_share(server, 25)
        assert [answers(server, who) for who in (early, late, never)] == [2, 2, 1]
    with serving(services, model, poll_seconds=0.05) as again:
        again.wait_until_ready()
        at_share(again, 25)
        assert [answers(again, who) for who in (early, late, never)] == [2, 2, 1]
        again.wait_for(lambda: counted(services, first) == Counts(5, 5), "both processes, none twice")
        ramp_end(services, first)
        at_share(again, None)
        assert [answers(again, who) for who in (early, late, never)] == [1, 1, 1]
        again.wait_for(lambda: beside("podium_version", model) == 0, "nothing is beside")
    with serving(services, model, poll_seconds=0.05) as third:
        third.wait_until_ready()
        assert answers(third, early) == 1
        assert watch_of(third) == {}
    assert len(told_of(services.ledger, model, first.seq)) == 2


def test_a_version_that_fails_or_cannot_read_falls_back_to_the_champion_and_counts_as_failed(
    services: Services, model: str
) -> None:
    early = client(model, 0, 5)
    first = ramp_step(services, model, champion_and_approved(services, model, ODD), 5)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        at_share(server, 5)
        before = instruments.FALLBACKS.labels(model)._value.get()
        assert answers(server, early) == 2
        assert answers(server, early, RAISES) == 1
        server.wait_for(lambda: counted(services, first) == Counts(2, 2, new_failed=1), "counted")
        refused = server.client.post("/predict", json=[{"x": "text"}], headers={"X-Client-Id": early})
        assert refused.status_code == 400
        assert instruments.FALLBACKS.labels(model)._value.get() == before + 1
    assert counted(services, first) == Counts(2, 2, new_failed=1), "what neither can read is no pair"


def test_columns_that_only_the_champion_knows_count_against_the_new_version(
    services: Services, model: str
) -> None:
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    wider = ROWS.assign(w=0.0)
    number = register_model(services, model, LinearRegression().fit(wider, ROWS["x"]), wider)
    first = ramp_step(services, model, number, 5)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        at_share(server, 5)
        assert answers(server, client(model, 0, 5)) == 1
        server.wait_for(lambda: counted(services, first) == Counts(1, 1, new_failed=1), "counted")


def test_promoted_at_the_end_it_serves_from_memory_and_the_window_follows(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = champion_and_approved(services, model, regression(2))
    early, never = client(model, 0, 5), client(model, 50, 100)
    first = ramp_step(services, model, number, 5)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        at_share(server, 5)
        ramp_end(services, first, share=5)
        assert answers(server, early) == 2, "its clients stay with it until it is champion"

        def no_load(*_: Any) -> Any:
            raise AssertionError("it is in memory")

        monkeypatch.setattr("podium.serving.follower.load_version", no_load)
        promoted = promote_watched(services, model, number)
        server.wait_for_version(2)
        assert answers(server, never) == 2
        # The ramp had the same two versions, so only the promotion tells the window from it.
        server.wait_for(lambda: watch_of(server).get("promotion") == promoted.seq, "the window")
        server.wait_for(lambda: watch_of(server)["loaded"], "the version before")
        assert watch_of(server)["old"] == 1
        assert "share" not in watch_of(server)


def test_a_window_has_the_memory_before_a_ramp_and_a_ramp_before_a_trial(
    services: Services, model: str
) -> None:
    number = champion_and_approved(services, model, regression(2))
    promote_watched(services, model, number)
    third = register_model(services, model, regression(3), ROWS)
    nominate(services, model, third)
    early = client(model, 0, 5)
    with serving(services, model, poll_seconds=0.05, canary=99.0) as server:
        server.wait_until_ready()
        server.wait_for(lambda: watch_of(server).get("loaded"), "the window")
        ramp_step(services, model, third, 5)
        assert answers(server, early) == 2
        make_champion(services, model, number)
        ramp_step(services, model, third, 5)
        at_share(server, 5)
        assert answers(server, early) == 3
        assert answers(server, client(model, 50, 100)) == 2
        assert "the ramp of v3 has the memory" in str(server.client.get("/version").json()["canary"])


def test_while_the_ledger_is_away_the_share_stays_and_not_for_long(
    services: Services, model: str, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = client(model, 0, 5)
    first = ramp_step(services, model, champion_and_approved(services, model, regression(2)), 5)
    proxy = Proxy(int(make_url(layout.ledger_url).port or 0))
    url = make_url(layout.ledger_url).set(port=proxy.port).render_as_string(hide_password=False)
    away = Services(services.settings, registry=services.registry, ledger=Ledger(url))
    try:
        with serving(away, model, poll_seconds=0.05) as server:
            server.wait_until_ready()
            at_share(server, 5)
            proxy.cut()
            server.wait_for(lambda: "did not answer" in str(watch_of(server)["problem"]), "told")
            assert answers(server, early) == 2
            now = watch.monotonic
            monkeypatch.setattr(watch, "monotonic", lambda: now() + 3601)
            assert answers(server, early) == 1
            proxy.mend()
            server.wait_for(lambda: counted(services, first) == Counts(1, 1), "written once")
            server.wait_for(lambda: answers(server, early) == 2, "the share of the ledger again")
    finally:
        proxy.close()


def test_after_its_time_servers_end_it_where_nobody_does(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = champion_and_approved(services, model, regression(2))
    early = client(model, 0, 5)
    first = ramp_step(services, model, number, 5)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        at_share(server, 5)
        opened = first.at.timestamp()
        real = Ledger.now
        monkeypatch.setattr(
            Ledger, "now", lambda ledger: real(ledger).fromtimestamp(opened + 604800 + 3601, first.at.tzinfo)
        )
        at_share(server, None)
        assert answers(server, early) == 1
