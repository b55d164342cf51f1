"""An approved version answers more and more clients of a real server, then all; or goes back to none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from podium.ledger.events import Event, EventKind
from podium.model_file.loading import find_spec
from podium.monitoring.watch_recompute import watch_differences
from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from podium.serving import watch
from podium.serving.trial import in_canary
from support.airflow import LifecycleRun, wait_for
from support.serving import Server, serving
from support.steps import promote_past_airflow
from support.watched import watch_of

MODEL = "toy-ramped"
# The square of it is no finite number.
RAISES = {"x": 1e200}
CLIENT = next(name for name in map(str, range(1000)) if in_canary(MODEL, name, 50))


@pytest.fixture
def server(stack_services: Services, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of a model whose first champion never fails."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 1.0)
    spec = find_spec(models, MODEL)
    promote_past_airflow(stack_services, spec, datetime.now(UTC) - timedelta(days=40))
    with serving(stack_services, MODEL, poll_seconds=0.5) as running:
        running.wait_until_ready()
        yield running


def answers(server: Server, record: dict[str, float]) -> int:
    response = server.client.post("/predict", json=[record], headers={"X-Client-Id": CLIENT})
    assert response.status_code == 200
    return int(response.headers["X-Model-Version"])


def at_share(server: Server, share: int) -> None:
    server.wait_for(
        lambda: watch_of(server).get("share") == share and watch_of(server)["loaded"], f"a share of {share}"
    )


def ramp_of(services: Services, run: LifecycleRun) -> list[Event]:
    kinds = [EventKind.RAMP_STEP, EventKind.RAMP_ENDED]
    return [event for event in services.ledger.history(MODEL, kinds=kinds) if event.run == run.reference]


def test_a_ramp_ends_in_a_promotion_and_the_next_one_goes_back(
    server: Server,
    stack_services: Services,
    approver: AirflowClient,
    start: Callable[..., LifecycleRun],
) -> None:
    run = start(MODEL, params={"strength": 2.0})
    run.approve(approver)
    at_share(server, 50)
    for _ in range(5):
        assert answers(server, {"x": 0.3}) == 2
    at_share(server, 90)
    assert server.client.get("/version").json()["version"] == 1
    for _ in range(5):
        assert answers(server, {"x": 0.3}) == 2
    assert run.wait_for_end() == "success"
    server.wait_for_version(2)
    assert [
        (event.details["share"], event.details.get("said")) for event in ramp_of(stack_services, run)
    ] == [
        (50, None),
        (90, "good"),
        (90, "good"),
    ]
    promoted = stack_services.ledger.history(MODEL, kinds=[EventKind.PROMOTED])[-1]
    assert (promoted.version, promoted.from_version, promoted.actor) == (2, 1, "approver")

    bad = start(MODEL, params={"squares": True})
    bad.approve(approver)
    at_share(server, 50)
    for _ in range(20):
        assert answers(server, RAISES) == 2, "the champion answers for the one that fails"
    wait_for(lambda: ramp_of(stack_services, bad)[-1].event is EventKind.RAMP_ENDED, "the end of the ramp")
    server.wait_for(lambda: watch_of(server) == {}, "nobody is answered by v3")
    assert answers(server, {"x": 0.3}) == 2
    bad.wait_for_end()
    states = bad.task_states()
    assert (states["ramp"], states["promote"], states["outcome"]) == ("skipped", "skipped", "success")
    assert "back to 0%, bad: v3 alone failed 20 and v2 alone 0 of 20 requests" in bad.note()
    assert stack_services.registry.champion(MODEL) == 2
    assert watch_differences(stack_services.ledger, [MODEL]) == []
