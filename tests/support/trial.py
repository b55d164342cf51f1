"""A champion and a candidate beside it, for the tests of shadow and canary."""

from __future__ import annotations

import time
import uuid
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression

from podium.ledger.events import EventKind, NewEvent
from podium.ledger.live_answers import LiveAnswer, LiveStore, VersionOnTrial
from podium.lifecycle import canary
from podium.names import Alias
from podium.services import Services
from support.patience import PATIENCE_SECONDS
from support.serving import Server, make_champion, register_model

_DRAWS = np.random.default_rng(3)
ROWS = pd.DataFrame({"x": _DRAWS.normal(size=60), "z": _DRAWS.normal(size=60)})
OUTCOME = np.where(ROWS["x"] + 0.5 * _DRAWS.normal(size=60) > 0, "win", "loss")
RECORDS = ROWS.to_dict(orient="records")


def classifier(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength).fit(ROWS, OUTCOME)


def regression(slope: float) -> LinearRegression:
    return LinearRegression().fit(ROWS, ROWS["x"] * slope)


def nominate(services: Services, model: str, number: int, **terms: int) -> str:
    run, champion = f"lifecycle/{uuid.uuid4()}", services.registry.champion(model)
    details = {"digest": "g", canary.TERMS: [terms] if terms else []}
    for kind, key, said in (
        (EventKind.GATES_PASSED, None, details),
        (EventKind.NOMINATED, f"nominated:{run}", {}),
    ):
        services.ledger.append(NewEvent(kind, model, number, champion, run=run, key=key, details=said))
    services.registry.set_alias(model, Alias.CANDIDATE, number)
    return run


def champion_and_candidate(
    services: Services, model: str, first: Any, second: Any, inputs: Any = ROWS
) -> None:
    make_champion(
        services, model, register_model(services, model, first, ROWS, classifies=hasattr(first, "classes_"))
    )
    classifies = hasattr(second, "classes_")
    nominate(services, model, register_model(services, model, second, inputs, classifies=classifies))


def begun(server: Server) -> Server:
    server.wait_until_ready()
    server.wait_for(lambda: beside(server) == 2, "the candidate")
    return server


def beside(server: Server) -> Any:
    state = server.client.get("/version").json()
    return (state.get("shadow") or state["canary"])["version"]


def predict(server: Server, records: Any, **headers: str) -> Any:
    answer = server.client.post("/predict", json=records, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def stored(services: Services, model: str, count: int) -> list[LiveAnswer]:
    store = LiveStore(services.ledger)
    until = time.monotonic() + PATIENCE_SECONDS
    while len(found := [answer for answer, _ in store.read(model, VersionOnTrial(1, 2))]) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} stored"
        time.sleep(0.02)
    return found
