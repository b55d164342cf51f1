"""A model server says what it serves, and no answer of it depends on whether somebody hears that."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

from podium.ledger.servers import Server, servers_of
from podium.ledger.store import Ledger
from podium.services import Services
from podium.serving import presence
from podium.serving.presence import Presence
from support.patience import PATIENCE_SECONDS
from support.serving import make_champion, register_model, serving

INPUTS = pd.DataFrame({"x": [0.5, 1.5, 2.5]})
NOWHERE = "postgresql+psycopg2://podium_server:x@127.0.0.1:1/ledger"


@pytest.fixture
def model(services: Services) -> str:
    """A model with a champion that answers 1.0."""
    name = f"present-{uuid.uuid4().hex[:8]}"
    champion(services, name, 1.0)
    return name


def champion(services: Services, model: str, value: float) -> int:
    fitted = DummyRegressor(strategy="constant", constant=value).fit(INPUTS, INPUTS.x)
    number = register_model(services, model, fitted, INPUTS)
    make_champion(services, model, number)
    return number


def until(services: Services, model: str, holds: Callable[[list[Server]], bool]) -> list[Server]:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not holds(found := servers_of(services.ledger, [model])[model]):
        assert time.monotonic() < ends, found
        time.sleep(0.1)
    return found


def test_a_server_says_what_it_serves_at_each_switch_and_when_it_ends(services: Services, model: str) -> None:
    with serving(services, model) as server:
        server.wait_until_ready()
        (first,) = until(services, model, lambda found: [of.versions for of in found] == [(1,)])
        assert (first.problem, first.silent) == ("", False)
        second = champion(services, model, 2.0)
        until(services, model, lambda found: [of.versions for of in found] == [(second,)])
    assert servers_of(services.ledger, [model])[model] == []


def test_a_version_that_is_served_for_good_follows_no_champion(services: Services, model: str) -> None:
    with serving(services, model, version=1) as server:
        server.wait_until_ready()
        time.sleep(2 * presence.LOOK_SECONDS)
        assert servers_of(services.ledger, [model])[model] == []


def test_a_database_that_does_not_answer_is_said_once_and_touches_no_answer(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(presence, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.05)
    told: list[str] = []

    def absent(_ledger: Ledger, *rest: object) -> None:
        told.append("tried")
        tell(Ledger(NOWHERE), *rest)  # type: ignore[arg-type]

    tell = presence.tell
    monkeypatch.setattr(presence, "tell", absent)
    with serving(services, model) as server:
        server.wait_until_ready()
        while len(told) < 5:
            assert server.client.post("/predict", json=[{"x": 1.0}]).json()["predictions"] == [1.0]
    warned = [record for record in caplog.records if "could not report its versions" in record.message]
    assert len(warned) == 1


def test_nothing_is_told_before_it_begins_or_after_it_ended(services: Services) -> None:
    idle = Presence(services.ledger, "idle:1", [])
    idle.start()
    idle.stop()
    assert idle.served() == []
