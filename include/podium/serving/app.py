"""The routes of the model server."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any

import orjson
from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from starlette.requests import ClientDisconnect

from podium.errors import PodiumError
from podium.live_store import LiveStore
from podium.parts import Parts, connect
from podium.serving import instruments
from podium.serving.answers import invocation_json, predict_json
from podium.serving.batching import TooBusy
from podium.serving.feedback import MAX_ID, SWITCH_ON, parse_feedback, store_feedback
from podium.serving.http import check_token, read_body
from podium.serving.loaded_version import LoadedVersion
from podium.serving.openapi import describe
from podium.serving.requests import JSON, RequestRefused, Rows, Shape, parse_invocation, parse_records
from podium.serving.served_model import NotLoaded, ServedModel
from podium.serving.settings import ServingSettings
from podium.serving.shadow import Answered

log = logging.getLogger(__name__)

# Bodies beyond this are parsed in a thread, so that nobody waits for them.
_LARGE_BODY_BYTES = 256 * 1024
_CLIENT_CLOSED_REQUEST = 499

Parse = Callable[[bytes, Request, Shape], Rows]
Write = Callable[[LoadedVersion, Any], bytes]


def create_app(settings: ServingSettings | None = None, parts: Parts | None = None) -> FastAPI:
    """Make the server of the models that the settings name.

    Args:
        settings: Without them those of the environment.
        parts: The registry and the ledger; without them those of the environment.
    """
    settings = settings or ServingSettings()
    reached = parts or connect()
    models = {name: ServedModel(reached, settings, name) for name in settings.models}
    app = FastAPI(title="Podium model server", lifespan=_lifespan(models), docs_url=None, redoc_url=None)
    app.state.settings, app.state.models, app.state.store = settings, models, LiveStore(reached.ledger)
    for prefix in ("", "/models/{model}"):
        app.add_api_route(f"{prefix}/predict", _predict, methods=["POST"])
        app.add_api_route(f"{prefix}/invocations", _invocations, methods=["POST"])
        app.add_api_route(f"{prefix}/predict-mlflow", _invocations, methods=["POST"])
        app.add_api_route(f"{prefix}/feedback", _feedback, methods=["POST"])
        app.add_api_route(f"{prefix}/version", _version, methods=["GET"])
    app.add_api_route("/health", _health, methods=["GET"])
    app.add_api_route("/ping", _health, methods=["GET"])
    app.add_api_route("/ready", _ready, methods=["GET"])
    app.add_api_route("/models", _models, methods=["GET"])
    app.add_api_route("/metrics", _metrics, methods=["GET"])
    app.openapi = lambda: describe(models)  # type: ignore[method-assign]
    return app


def _lifespan(models: dict[str, ServedModel]) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        for model in models.values():
            model.start()
        yield
        for model in models.values():
            model.stop()

    return run


async def _health() -> Response:
    return Response(b"\n", media_type="text/plain")


async def _ready(request: Request) -> Response:
    models = request.app.state.models.values()
    ready = all(model.follower.current is not None for model in models)
    content = {model.name: model.follower.problem or "ready" for model in models}
    return _json(content, status=200 if ready else 503)


async def _models(request: Request) -> Response:
    check = _refused(request)
    return check or _json([model.as_json() for model in request.app.state.models.values()])


async def _version(request: Request) -> Response:
    check = _refused(request)
    return check or _json(_model(request).as_json())


async def _metrics(request: Request) -> Response:
    if check := _refused(request):
        return check
    registry = None
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    content = generate_latest() if registry is None else generate_latest(registry)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


async def _predict(request: Request) -> Response:
    return await _answered(
        request, lambda body, _, shape: parse_records(body, shape), predict_json, "predict"
    )


async def _invocations(request: Request) -> Response:
    return await _answered(
        request,
        lambda body, request, shape: parse_invocation(body, request.headers.get("content-type", JSON), shape),
        lambda _, answer: invocation_json(answer),
        "invocations",
    )


async def _answered(request: Request, parse: Parse, write: Write, route: str) -> Response:
    """Answer one request, wholly by the version that serves when its body is there."""
    model, settings = _model(request), request.app.state.settings
    begun = perf_counter()
    try:
        check_token(request, settings.token)
        body = await read_body(request, settings.max_body_bytes, settings.body_seconds)
        begun = perf_counter()
        answered = await _answer(model, request, body, parse)
        version, rows = answered.version, answered.rows
        content, headers = write(version, answered.answer), _headers(answered)
        response = Response(content, media_type=JSON, headers=headers)
        instruments.ROWS.labels(model.name, version.number).inc(rows.count)
    except ClientDisconnect:
        response = Response(status_code=_CLIENT_CLOSED_REQUEST)
    except (RequestRefused, NotLoaded, TooBusy) as error:
        response = _refusal(error)
    instruments.REQUESTS.labels(model.name, route, response.status_code).inc()
    instruments.SECONDS.labels(model.name).observe(perf_counter() - begun)
    return response


async def _answer(model: ServedModel, request: Request, body: bytes, parse: Parse) -> Answered:
    """Answer by the version that serves or, to the canary's clients, by the candidate if it can."""
    serving = model.version()
    reply = partial(_answer_by, model, request, body, parse)
    if model.trial is None:
        return await reply(serving)
    version = model.trial.chosen(serving, _client(request))
    try:
        answered = await reply(version)
    except (RequestRefused, TooBusy):
        if version is serving:
            raise
        answered = await reply(serving)
        instruments.FALLBACKS.labels(model.name).inc()
        return answered
    model.trial.answered(answered, serving)
    return answered


async def _answer_by(
    model: ServedModel, request: Request, body: bytes, parse: Parse, version: LoadedVersion
) -> Answered:
    read = partial(parse, body, request)
    large = len(body) > _LARGE_BODY_BYTES
    rows = await asyncio.to_thread(read, version.shape) if large else read(version.shape)
    answer = await model.answer(version, rows)
    request_id = request.headers.get("x-request-id", "")
    if not 0 < len(request_id) <= MAX_ID:
        request_id = uuid.uuid4().hex
    return Answered(request_id, datetime.now(UTC), version, rows, answer, read, len(body))


def _client(request: Request) -> str:
    """Return what tells a client from others, so that the same version answers it each time."""
    return request.headers.get("x-client-id") or (request.client.host if request.client else "")


async def _feedback(request: Request) -> Response:
    """Keep the labels of a request that was answered before."""
    model, settings = _model(request), request.app.state.settings
    try:
        check_token(request, settings.token)
        feedback = parse_feedback(await read_body(request, settings.max_body_bytes, settings.body_seconds))
        if model.trial is None:
            raise RequestRefused(SWITCH_ON, 409)
        await asyncio.to_thread(store_feedback, request.app.state.store, model.name, feedback)
        response = _json({"request_id": feedback.request_id, "labels": len(feedback.labels)}, 202)
    except ClientDisconnect:
        response = Response(status_code=_CLIENT_CLOSED_REQUEST)
    except PodiumError as error:
        response = _refusal(error)
    instruments.REQUESTS.labels(model.name, "feedback", response.status_code).inc()
    return response


def _headers(answered: Answered) -> dict[str, str]:
    version, rows = answered.version, answered.rows
    headers = {
        "X-Model-Version": str(version.number),
        "X-Model-Digest": version.digest,
        "X-Request-Id": answered.request_id,
    }
    if rows.ignored:
        names = ", ".join(rows.ignored)[:1000]
        headers["X-Ignored-Columns"] = names.encode("ascii", "replace").decode().replace("\n", " ")
    return headers


def _refused(request: Request) -> Response | None:
    try:
        check_token(request, request.app.state.settings.token)
    except RequestRefused as error:
        return _refusal(error)
    return None


def _refusal(error: PodiumError | TooBusy) -> Response:
    """Return the refusal in MLflow's form; what is not the request's fault may be tried again."""
    status = error.status if isinstance(error, RequestRefused) else 503
    code = "TEMPORARILY_UNAVAILABLE" if status == 503 else "BAD_REQUEST"
    headers = {"Retry-After": "1"} if status == 503 else {}
    if status in (408, 413):
        headers["Connection"] = "close"
    return _json({"error_code": code, "message": str(error)}, status, headers)


def _model(request: Request) -> ServedModel:
    """Return the model that a route names; the only one where it names none."""
    models: dict[str, ServedModel] = request.app.state.models
    name = request.path_params.get("model")
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name not in models:
        where = ", ".join(f"/models/{model}" for model in models)
        raise HTTPException(404, f"served here: {where}")
    return models[name]


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type=JSON)
