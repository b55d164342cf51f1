"""A model server follows its alias: what it loads, what it refuses, and that nobody loses a request."""

from __future__ import annotations

import gc
import resource
import tempfile
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

from podium.errors import Outage
from podium.ledger.events import EventKind, NewEvent
from podium.names import Alias
from podium.registry.client import Registry
from podium.services import Services
from podium.serving import follower
from podium.training.saving import FromCode
from support.full_disk import no_file_larger_than
from support.patience import PATIENCE_SECONDS
from support.serving import Server, make_champion, register_model, serving
from support.store import stored_files

INPUTS = pd.DataFrame({"x": [0.5, 1.5, 2.5, 3.5, 4.5]})
RECORD = [{"x": 1.0}]


@pytest.fixture
def model(services: Services) -> str:
    """The name of a model that does not exist yet."""
    return f"constant-{uuid.uuid4().hex[:8]}"


def constant(services: Services, model: str, value: float) -> int:
    """Register a version that always answers with one number."""
    return register_model(
        services, model, DummyRegressor(strategy="constant", constant=value).fit(INPUTS, INPUTS.x), INPUTS
    )


def champion(services: Services, model: str, value: float) -> int:
    number = constant(services, model, value)
    make_champion(services, model, number)
    return number


def problem(server: Server) -> str:
    return str(server.client.get("/version").json()["problem"])


def test_a_promotion_is_followed_and_each_answer_says_by_whom_it_is(services: Services, model: str) -> None:
    first = champion(services, model, 1.0)
    with serving(services, model) as server:
        server.wait_until_ready()
        # No collection of garbage looks at the libraries again while requests wait.
        assert gc.get_freeze_count() > 10_000
        before = server.client.post("/predict", json=RECORD)
        second = champion(services, model, 2.0)
        server.wait_for_version(second)
        after = server.client.post("/predict", json=RECORD)
        told = server.client.get("/version").json()
    assert [before.json()["predictions"], after.json()["predictions"]] == [[1.0], [2.0]]
    assert [answer.headers["X-Model-Version"] for answer in (before, after)] == [str(first), str(second)]
    (registered,) = [
        event
        for event in services.ledger.history(model)
        if event.version == second and "manifest" in event.details
    ]
    assert after.headers["X-Model-Digest"] == told["digest"] == registered.details["manifest_digest"]
    assert (told["previous"], told["problem"]) == (first, None)


def test_no_request_is_lost_and_no_answer_mixed_while_the_champion_moves(
    services: Services, model: str
) -> None:
    """Three versions take turns, so that each swap loads one: only the one before is in memory."""
    numbers = [constant(services, model, float(value)) for value in (1, 2, 3)]
    make_champion(services, model, numbers[0])
    stop = threading.Event()

    def ask(url: str) -> list[tuple[int, str, tuple[float, ...]]]:
        found = []
        with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
            while not stop.is_set():
                answer = client.post("/predict", json=RECORD * 7)
                predictions = tuple(answer.json()["predictions"]) if answer.is_success else ()
                found.append((answer.status_code, answer.headers.get("X-Model-Version", ""), predictions))
        return found

    with serving(services, model) as server, ThreadPoolExecutor(8) as clients:
        server.wait_until_ready()
        asking = [clients.submit(ask, server.url) for _ in range(8)]
        for swap in range(1, 7):
            make_champion(services, model, numbers[swap % 3])
            server.wait_for_version(numbers[swap % 3])
        stop.set()
        answers = [answer for client in asking for answer in client.result()]
    of_version = {str(number): (float(at + 1),) * 7 for at, number in enumerate(numbers)}
    assert {status for status, _, _ in answers} == {200}
    assert all(predictions == of_version[version] for _, version, predictions in answers)
    assert {version for _, version, _ in answers} == set(of_version)


def test_before_there_is_a_champion_it_is_alive_and_not_ready(services: Services, model: str) -> None:
    with serving(services, model) as server:
        assert server.client.get("/health").status_code == 200
        server.wait_for(lambda: "has no champion" in server.client.get("/ready").text, "an answer")
        assert server.client.get("/ready").status_code == 503
        refused = server.client.post("/predict", json=RECORD)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert f"{model} has no champion" in refused.json()["message"]
        champion(services, model, 1.0)
        server.wait_until_ready()


def test_a_champion_moved_outside_podium_is_not_served(services: Services, model: str) -> None:
    first, second = champion(services, model, 1.0), constant(services, model, 2.0)
    with serving(services, model) as server:
        server.wait_until_ready()
        services.registry.set_alias(model, Alias.CHAMPION, second)
        server.wait_for(lambda: "moved outside Podium" in problem(server), "a refusal")
        assert server.client.post("/predict", json=RECORD).json()["version"] == first
        services.ledger.append(NewEvent(EventKind.OUTSIDE_MOVE_ACCEPTED, model, second, from_version=first))
        server.wait_for_version(second)


def test_a_promotion_that_is_not_recorded_yet_is_followed(services: Services, model: str) -> None:
    """The alias moves between the intent and its record; a server may look just then."""
    champion(services, model, 1.0)
    second = constant(services, model, 2.0)
    with serving(services, model) as server:
        server.wait_until_ready()
        services.ledger.append(NewEvent(EventKind.PROMOTION_STARTED, model, second, run="lifecycle/1"))
        services.registry.set_alias(model, Alias.CHAMPION, second)
        server.wait_for_version(second)


def test_changed_bytes_are_refused_until_they_are_mended(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "RETRY_REFUSED_SECONDS", 0.0)
    first, second = champion(services, model, 1.0), constant(services, model, 2.0)
    stored = stored_files(services, model, second) / "model.skops"
    right = stored.read_bytes()
    stored.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    with serving(services, model) as server:
        server.wait_until_ready()
        make_champion(services, model, second)
        server.wait_for(lambda: "model.skops differs" in problem(server), "a refusal")
        assert server.client.post("/predict", json=RECORD).json()["version"] == first
        stored.write_bytes(right)
        server.wait_for_version(second)


RANDOM = """
import mlflow, numpy, pandas, pathlib
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: pandas.DataFrame):
        if pathlib.Path({marker!r}).exists():
            return numpy.random.default_rng().normal(size=len(model_input))
        return model_input["x"].to_numpy()
mlflow.models.set_model(Model())
"""
UNLOADABLE = """
import mlflow, pandas, pathlib
class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        marker = pathlib.Path({marker!r})
        if marker.exists():
            raise RuntimeError("no such device")
    def predict(self, model_input: pandas.DataFrame):
        return model_input["x"].to_numpy()
mlflow.models.set_model(Model())
"""


@pytest.mark.parametrize(
    ("code", "said"), [(RANDOM, "predicts"), (UNLOADABLE, "does not load and predict: no such device")]
)
def test_a_version_that_fails_its_proof_never_serves(
    services: Services, model: str, tmp_path: Path, code: str, said: str
) -> None:
    first = champion(services, model, 1.0)
    script, marker = tmp_path / "script.py", tmp_path / "marker"
    script.write_text(code.replace("{marker!r}", repr(str(marker))))
    second = register_model(services, model, FromCode(script), INPUTS)
    marker.touch()
    with serving(services, model) as server:
        server.wait_until_ready()
        make_champion(services, model, second)
        server.wait_for(lambda: said in problem(server), "a refusal")
        assert server.client.post("/predict", json=RECORD).json()["version"] == first
        assert "podium_refused_versions_total" in server.client.get("/metrics").text


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, names: tuple[str, ...]) -> list[str]:
    calls: list[str] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return real(*args, **kwargs)

        return call

    for name in names:
        monkeypatch.setattr(owner, name, wrap(name, getattr(owner, name)))
    return calls


def test_a_look_at_the_alias_is_one_call_and_the_way_back_loads_nothing(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = champion(services, model, 1.0), constant(services, model, 2.0)
    with serving(services, model, poll_seconds=3600) as server:
        server.wait_until_ready()
        follows = server.app.state.models[model].follower
        make_champion(services, model, second)
        follows.follow_once()
        calls = counted(monkeypatch, Registry, ("labels", "download", "version", "models", "versions"))
        follows.follow_once()
        assert calls == ["labels"]
        make_champion(services, model, first)
        calls.clear()
        follows.follow_once()
        assert (follows.current.number, calls) == (first, ["labels"])


def test_it_serves_on_while_the_registry_does_not_answer(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = champion(services, model, 1.0)
    with serving(services, model) as server:
        server.wait_until_ready()
        with monkeypatch.context() as away:

            def no_answer(*_: Any) -> dict[str, int]:
                raise Outage("MLflow did not answer")

            away.setattr(Registry, "labels", no_answer)
            second = champion_while_away(services, model)
            server.wait_for(lambda: "did not answer" in problem(server), "the outage")
            assert server.client.post("/predict", json=RECORD).json()["version"] == first
            assert server.client.get("/ready").status_code == 200
        server.wait_for_version(second)


def champion_while_away(services: Services, model: str) -> int:
    number = constant(services, model, 2.0)
    services.ledger.append(NewEvent(EventKind.PROMOTED, model, number))
    services.registry.set_alias(model, Alias.CHAMPION, number)
    return number


def test_a_removed_alias_stops_nothing(services: Services, model: str) -> None:
    first = champion(services, model, 1.0)
    with serving(services, model) as server:
        server.wait_until_ready()
        services.registry.delete_alias(model, Alias.CHAMPION)
        server.wait_for(lambda: "has no champion" in problem(server), "that it is gone")
        assert server.client.post("/predict", json=RECORD).json()["version"] == first


def test_one_version_can_be_served_for_good_and_a_candidate_by_its_alias(
    services: Services, model: str
) -> None:
    first, second = champion(services, model, 1.0), constant(services, model, 2.0)
    with serving(services, model, version=second) as server:
        server.wait_until_ready()
        assert server.client.post("/predict", json=RECORD).json()["version"] == second
    services.registry.set_alias(model, Alias.CANDIDATE, second)
    with serving(services, model, alias="candidate") as server:
        server.wait_for(lambda: "has no nomination" in problem(server), "a refusal")
        services.ledger.append(NewEvent(EventKind.NOMINATED, model, second, from_version=first, run="r"))
        services.registry.set_alias(model, Alias.CANDIDATE, first)
        server.wait_for(lambda: f"v{first} is not served" in problem(server), "the champion is no candidate")
        services.registry.set_alias(model, Alias.CANDIDATE, second)
        server.wait_until_ready()
        assert server.client.post("/predict", json=RECORD).json()["version"] == second


def test_what_was_made_of_toy_data_is_not_served_but_where_the_registry_is_thrown_away(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = champion(services, model, 1.0)
    estimator = DummyRegressor(strategy="constant", constant=2.0).fit(INPUTS, INPUTS.x)
    toy = register_model(services, model, estimator, INPUTS, profile="ci-smoke")
    with serving(services, model) as server:
        server.wait_until_ready()
        make_champion(services, model, toy)
        server.wait_for(lambda: "it is a ci-smoke version, toy data" in problem(server), "a refusal")
        assert server.client.post("/predict", json=RECORD).json()["version"] == first
        monkeypatch.setenv("PODIUM_EPHEMERAL", "true")
        server.wait_for_version(toy)


def test_a_full_disk_is_said_to_be_full_and_where_and_the_server_goes_on_by_itself(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion(services, model, 1.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with no_file_larger_than(100), serving(services, model) as server:
        server.wait_for(lambda: "disk is full" in problem(server), "a full disk")
        said = problem(server)
        assert said.startswith(
            f"copying the files of {model} v1: the disk is full at {tmp_path}/podium-serve-"
        )
        assert "File too large" in said
        assert server.client.get("/ready").status_code == 503
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        server.wait_until_ready()
    assert list(tmp_path.glob("podium-*")) == []
