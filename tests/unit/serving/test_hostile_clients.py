"""Hostile clients get a 4xx in time or are cut off, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, ClassVar

import httpx
import numpy as np
import pandas as pd
import pytest
from fastapi import Request
from hypothesis import HealthCheck, given, settings
from mlflow.pyfunc.scoring_server import predictions_to_json
from sklearn.linear_model import LinearRegression
from starlette.types import Message

from podium.errors import CannotBeWritten, RequestRefused, TooBusy
from podium.ledger.store import Ledger
from podium.registry.client import Registry
from podium.services import Services
from podium.serving import http as guards
from podium.serving.answers import invocation_json, predict_json
from podium.settings import Settings
from support.serving import Server, make_champion, register_model, serving

TABLE = pd.DataFrame({"a": np.arange(9.0), "b": np.arange(9.0) ** 2})
RECORD = [{"a": 1.0, "b": 2.0}]
BODY = json.dumps(RECORD).encode()
MAX_BODY = 2**20
JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def reached(
    ledger_url: str, ledger_server_url: str, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """Services with a champion of the model ``hostile``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("hostile"))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        patch.setenv("PODIUM_LEDGER_URL", ledger_url)
        patch.setenv("PODIUM_LEDGER_SERVER_URL", ledger_server_url)
        services = Services(settings=Settings(), registry=Registry(mlflow_uri), ledger=Ledger(ledger_url))
        model = LinearRegression().fit(TABLE, TABLE["a"])
        make_champion(services, "hostile", register_model(services, "hostile", model, TABLE))
        yield services


@pytest.fixture(scope="module")
def server(reached: Services) -> Iterator[Server]:
    """A server whose patience is short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guards, "HEADER_SECONDS", 0.3)
        with serving(reached, "hostile", body_seconds=0.5, max_body_bytes=MAX_BODY) as running:
            # It closes connections that rest, too.
            running.client = httpx.Client(
                base_url=running.url, timeout=30, limits=httpx.Limits(max_keepalive_connections=0)
            )
            running.wait_until_ready()
            yield running


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def rest(connection: socket.socket) -> bytes:
    """Read until the server closes, which it must within the timeout."""
    answer = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            answer += piece
    return answer


def served(server: Server) -> None:
    begun = monotonic()
    assert server.client.post("/predict", json=RECORD).status_code == 200
    assert monotonic() - begun < 5


def request(path: str = "/predict", body: bytes = BODY, method: str = "POST", more: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Sends(guards.GuardedProtocol):
    """The server's protocol, which notes what each call hands to the network."""

    seen: ClassVar[list[bytes]] = []

    def connection_made(self, transport: Any) -> None:
        seen = self.seen

        class Noting:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                seen.append(data)
                transport.write(data)

            def writelines(self, pieces: list[bytes]) -> None:
                seen.append(b"".join(pieces))
                transport.writelines(pieces)

        super().connection_made(Noting())  # type: ignore[arg-type]


def test_head_and_body_of_an_answer_are_sent_at_once(
    reached: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(guards.UVICORN, "http", Sends)
    with serving(reached, "hostile") as running:
        running.wait_until_ready()
        Sends.seen.clear()
        for _ in range(3):
            assert running.client.post("/predict", json=RECORD).status_code == 200
        assert len(Sends.seen) == 3
        assert all(sent.startswith(b"HTTP/1.1 200") and sent.endswith(b"}") for sent in Sends.seen)
        # A client that asks whether it may send its body is told before the answer.
        Sends.seen.clear()
        with connected(running) as client:
            client.sendall(request(more="Expect: 100-continue\r\n")[: -len(BODY)])
            assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(BODY)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_requests_of_one_packet_are_answered_in_their_order(server: Server) -> None:
    bodies = [json.dumps([{"a": float(at), "b": 0.0}]).encode() for at in range(5)]
    with connected(server) as client:
        client.sendall(b"".join(request(body=body) for body in bodies[:-1]))
        client.sendall(request(body=bodies[-1], more="Connection: close\r\n"))
        answers = rest(client).split(b"HTTP/1.1 200")[1:]
    found = [json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"][0] for answer in answers]
    assert found == pytest.approx(range(5))


CHUNKED = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW: dict[str, tuple[bytes, bytes, bytes]] = {
    "says nothing": (b"", b"", b""),
    "headers byte by byte": (b"POST /predict HTTP/1.1\r\nX-Slow: ", b"a", b""),
    "empty lines": (b"", b"\r\n", b""),
    "empty lines after a request": (request(), b"\r\n", b"HTTP/1.1 200"),
    "body byte by byte": (request(body=b"[" * 1000)[:-1000], b"[", b"HTTP/1.1 408"),
    "chunks byte by byte": (CHUNKED, b"1\r\n[\r\n", b"HTTP/1.1 408"),
    "body of an answered request": (request("/health", b" " * 1000, "GET")[:-1000], b"a", b"HTTP/1.1 200"),
    "body of a refused request": (request("/nowhere", b" " * 1000)[:-1000], b"a", b"HTTP/1.1 404"),
    "trailers": (CHUNKED + b"0\r\nX-Slow: ", b"a", b"HTTP/1.1 4"),
}


@pytest.mark.parametrize("how", SLOW)
def test_slow_clients_are_cut_off_and_others_served_meanwhile(server: Server, how: str) -> None:
    first, again, answer = SLOW[how]
    with connected(server) as slow:
        slow.sendall(first)
        served(server)
        slow.settimeout(0.05)
        until, found, closed = monotonic() + 30, b"", False
        while not closed:
            assert monotonic() < until, found
            try:
                slow.sendall(again)
                piece = slow.recv(65536)
                found, closed = found + piece, not piece
            except TimeoutError:
                pass
            except OSError:
                closed = True
    assert found.startswith(answer)
    served(server)


BOMBS: dict[str, bytes] = {
    "one endless header": b"GET /health HTTP/1.1\r\nX: " + b"a" * 10_000_000,
    "many headers": b"GET /health HTTP/1.1\r\n" + b"X-A: b\r\n" * 200_000 + b"\r\n",
    "a long header": b"GET /health HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "an endless address": b"GET /" + b"a" * 10_000_000,
    "endless trailers": CHUNKED + b"0\r\nX: " + b"a" * 10_000_000,
    "many trailers": CHUNKED + b"0\r\n" + b"X-A: b\r\n" * 200_000,
    "an endless chunk extension": CHUNKED + b"1;" + b"a" * 10_000_000,
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100,
    "two lengths": b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n[]",
    "length and chunks": CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "no length": b"POST /predict HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n[]",
    "negative length": b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n[]",
    "a length of thirty digits": b"POST /predict HTTP/1.1\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n[]",
    "an upgrade": b"GET /health HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "connect": b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    "half of a request": request()[:-5],
}


@pytest.mark.parametrize("what", BOMBS)
def test_odd_requests_are_refused_or_cut_off(server: Server, what: str) -> None:
    with connected(server) as connection:
        with suppress(OSError):
            connection.sendall(BOMBS[what])
            connection.shutdown(socket.SHUT_WR)
        answer = rest(connection)
    assert b"HTTP/1.1 5" not in answer
    assert what == "an upgrade" or b"HTTP/1.1 200" not in answer
    served(server)


def test_pipelined_requests_are_answered_in_turn_and_not_without_end(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(
            request(more="X-Request-Id: one\r\n")
            + request("/nowhere")
            + request(more="X-Request-Id: three\r\n")
        )
        answer = rest(connection)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b"one") < answer.index(b"HTTP/1.1 404") < answer.index(b"three")
    with connected(server) as connection:
        with suppress(OSError):
            connection.sendall(request() * 50_000)
        rest(connection)
    served(server)


def test_a_body_that_is_too_large_is_refused_with_the_limit(server: Server) -> None:
    large = b" " * (MAX_BODY + 1)
    for content in (large, iter([large])):
        refused = server.client.post("/predict", content=content, headers=JSON_TYPE)
        assert refused.status_code == 413
        assert refused.json()["message"] == "the body is larger than 1,048,576 bytes: send several requests"
    with connected(server) as connection:
        connection.sendall(request(body=large, more="Expect: 100-continue\r\n")[: -len(large)])
        assert rest(connection).startswith(b"HTTP/1.1 413")
    whole = BODY + b" " * (MAX_BODY - len(BODY))
    assert server.client.post("/predict", content=whole, headers=JSON_TYPE).status_code == 200


def test_slow_large_bodies_take_no_place_from_small_ones(server: Server) -> None:
    with ExitStack() as slow:
        connections = [slow.enter_context(connected(server)) for _ in range(guards.LARGE_AT_ONCE + 4)]
        for connection in connections:
            connection.sendall(request(body=b" " * MAX_BODY)[:600_000])
        served(server)
        answers = [rest(connection)[:12] for connection in connections]
    assert set(answers) <= {b"HTTP/1.1 408", b"HTTP/1.1 503"}
    assert answers.count(b"HTTP/1.1 408") >= guards.LARGE_AT_ONCE
    large = BODY + b" " * 600_000
    assert server.client.post("/predict", content=large, headers=JSON_TYPE).status_code == 200


def test_large_bodies_wait_for_a_place_and_small_ones_do_not() -> None:
    def sending(*pieces: bytes) -> Request:
        left = list(pieces)

        async def receive() -> Message:
            if not left:
                await asyncio.sleep(60)
            return {"type": "http.request", "body": left.pop(0), "more_body": True}

        return Request({"type": "http", "method": "POST", "headers": []}, receive)

    async def read(bodies: guards.Bodies, size: int, seconds: float) -> None:
        async with bodies.read(sending(b" " * size), MAX_BODY, seconds):
            pass

    async def run() -> None:
        bodies, large = guards.Bodies(), guards.LARGE_BODY_BYTES + 1
        slow = [asyncio.create_task(read(bodies, large, 60)) for _ in range(guards.LARGE_AT_ONCE)]
        await asyncio.sleep(0)
        with pytest.raises(TooBusy):
            await read(bodies, large, 0.05)
        with pytest.raises(RequestRefused, match="the body did not arrive within 0.05 s"):
            await read(bodies, large - 1, 0.05)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        with pytest.raises(RequestRefused, match="the body did not arrive within 0.05 s"):
            await read(bodies, large, 0.05)

    asyncio.run(run())


def test_as_many_rows_as_allowed_and_one_more(server: Server) -> None:
    assert len(server.client.post("/predict", json=RECORD * 10_000).json()["predictions"]) == 10_000
    refused = server.client.post("/predict", json=RECORD * 10_001)
    assert refused.status_code == 413
    assert "more than 10,000 rows" in refused.json()["message"]


def test_routes_and_methods_that_are_not_there(server: Server) -> None:
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("POST", "/models/other/predict", 404),
        ("GET", "/models/%00%0d%0a/version", 404),
        ("GET", "/predict", 405),
        ("OPTIONS", "/predict", 405),
        ("DELETE", "/version", 405),
        ("TRACE", "/health", 405),
        ("HEAD", "/predict", 405),
    ):
        found = server.client.request(method, path)
        assert found.status_code == status
        assert method == "HEAD" or set(found.json()) == {"error_code", "message"}
        assert status == 404 or found.headers["Allow"]
    assert "/models/hostile" in server.client.get("/models/other/version").json()["message"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("order-7/a", True),
        ("x" * 200, True),
        ("x" * 201, False),
        ("x" * 60_000, False),
        ("a b", False),
        ("é", False),
    ],
)
def test_request_ids_come_back_if_they_may(server: Server, sent: str, kept: bool) -> None:
    headers = {"X-Request-Id": sent.encode()}
    for body, status in ((RECORD, 200), ([{"a": 1}], 400)):
        found = server.client.post("/predict", json=body, headers=headers)
        assert found.status_code == status
        assert (found.headers["X-Request-Id"] == sent) == kept
        assert len(found.headers["X-Request-Id"]) <= 200


def test_ignored_columns_are_named_whatever_their_names(server: Server) -> None:
    row = {**RECORD[0], "x\r\nSet-Cookie: a=b": 1, "\x00": 1, "ünï": 1, "y" * 5000: 1}
    found = server.client.post("/invocations", json={"dataframe_records": [row]})
    assert found.status_code == 200
    assert found.headers["X-Ignored-Columns"].startswith("x??Set-Cookie: a=b, ?, ?n?, yyy")
    assert len(found.headers["X-Ignored-Columns"]) <= 1000
    assert "set-cookie" not in found.headers
    many = {**RECORD[0], **{f"c{place}": 1 for place in range(50_000)}}
    found = server.client.post("/invocations", json={"dataframe_records": [many]})
    assert found.status_code == 200
    assert len(found.headers["X-Ignored-Columns"]) <= 1000


def test_packed_bodies_and_other_content_types_are_refused(server: Server) -> None:
    for headers in (
        {"Content-Encoding": "gzip"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "a" * 9999},
    ):
        for route in ("/predict", "/invocations"):
            refused = server.client.post(route, content=BODY, headers=headers)
            assert refused.status_code == 415
            assert len(refused.text) < 300


def test_what_breaks_inside_tells_clients_nothing_of_it(server: Server) -> None:
    async def broken() -> None:
        raise RuntimeError("a secret")

    server.app.add_api_route("/broken", broken)
    found = server.client.get("/broken", headers={"X-Request-Id": "mine"})
    assert (found.status_code, found.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert "mine" in found.json()["message"]
    assert "secret" not in found.text
    assert "Traceback" not in found.text
    served(server)


def test_what_json_cannot_hold_is_said(server: Server) -> None:
    version = server.app.state.models["hostile"].version()
    for write in (predict_json, invocation_json):
        for answer in ([2**70], [{1, 2}], ["\ud800"], np.array([1j])):
            with pytest.raises(CannotBeWritten, match="hostile v1 gave an answer that JSON cannot represent"):
                write(version, answer)


@pytest.mark.parametrize(
    "answer",
    [
        np.array([0.1, -0.0, 5e-324]),
        np.array([0.1, 1 / 3], dtype=np.float32),
        np.array([0.1, 1 / 3], dtype=">f8"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3))[:, ::2],
        np.array([1, 2], dtype=np.int8),
        np.array([True, False]),
        np.array(["a", "b"]),
        np.array(["a", None], dtype=object),
        np.array(0.5),
        np.float32(0.1),
        [np.float32(0.1), np.int64(3)],
        pd.Series([0.1, 0.2], dtype="f4"),
        pd.DataFrame({"a": np.array([0.1], dtype="f4"), "b": ["x"], "t": [pd.Timestamp("2025-01-01")]}),
        {"a": np.array([0.1], dtype="f4")},
        "text",
    ],
    ids=str,
)
def test_answers_are_written_as_mlflow_writes_them(server: Server, answer: Any) -> None:
    written = io.StringIO()
    predictions_to_json(answer, written)
    version = server.app.state.models["hostile"].version()
    assert json.loads(invocation_json(version, answer)) == json.loads(written.getvalue())


def test_a_token_is_asked_for_where_there_is_something_to_know(reached: Services) -> None:
    with serving(reached, "hostile", token="ge-heim-ü") as server:
        bearer = {"Authorization": "Bearer ge-heim-ü".encode()}
        server.wait_for(lambda: server.client.get("/ready").status_code == 200, "ready")
        assert server.client.get("/ready").json() == {"ready": True}
        assert server.client.get("/ready", headers=bearer).json()["models"] == {"hostile": "ready"}
        assert server.client.get("/health").status_code == 200
        for path in ("/version", "/models", "/metrics", "/openapi.json", "/models/hostile/version"):
            for wrong in (
                {},
                {"Authorization": "Bearer"},
                {"Authorization": "Bearer x"},
                {"Authorization": b"\xff"},
            ):
                refused = server.client.get(path, headers=wrong)
                assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
                assert "hostile" not in refused.text
            assert server.client.get(path, headers=bearer).status_code == 200
        for path in ("/predict", "/invocations", "/predict-mlflow", "/feedback", "/models/other/predict"):
            assert server.client.post(path, json=RECORD).status_code == 401
        assert server.client.post("/predict", json=RECORD, headers=bearer).status_code == 200


def test_schemathesis_finds_no_way_to_break_it(server: Server) -> None:
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error,
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    ]
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    document = document.exclude(path_regex="^/models/|mlflow$")
    tried = 0
    for found in document.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:

            @settings(max_examples=15, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def broken(case: Any) -> None:
                nonlocal tried
                tried += 1
                case.call_and_validate(checks=checks)

            if operation.method == "post" or mode == GenerationMode.POSITIVE:
                broken()
    assert tried > 60
