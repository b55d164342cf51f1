"""The routes of the model server."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from podium.errors import CannotBeWritten, NotLoaded, PodiumError, RequestRefused, TooBusy
from podium.ledger.live_answers import LiveStore
from podium.services import Services, connect
from podium.serving import instruments
from podium.serving.answers import invocation_json, predict_json
from podium.serving.feedback import SWITCH_ON, parse_feedback, store_feedback
from podium.serving.http import Bodies, check_token, header_text, request_id
from podium.serving.loaded_version import LoadedVersion
from podium.serving.openapi import describe
from podium.serving.requests import JSON, Rows, Shape, parse_invocation, parse_records
from podium.serving.served_model import ServedModel
from podium.serving.settings import ServingSettings
from podium.serving.shadow import Answered

log = logging.getLogger(__name__)

_CLIENT_CLOSED_REQUEST = 499
_NAMES_IN_HEADER, _LETTERS_IN_HEADER = 50, 1000


@dataclass(frozen=True)
class _Protocol:
    """How a route reads requests and writes answers."""

    name: str
    parse: Callable[[bytes, str, Shape], Rows]
    write: Callable[[LoadedVersion, Any], bytes]


_PREDICT = _Protocol("predict", parse_records, predict_json)
_INVOCATIONS = _Protocol("invocations", parse_invocation, invocation_json)


def create_app(settings: ServingSettings | None = None, services: Services | None = None) -> FastAPI:
    """Make the server of the models that the settings name.

    Args:
        settings: Without them those of the environment.
        services: The registry and the ledger; without them those of the environment.
    """
    settings = settings or ServingSettings()
    reached = services or connect()
    models = {name: ServedModel(reached, settings, name) for name in settings.models}
    app = FastAPI(lifespan=_lifespan(models), openapi_url=None)
    app.state.settings, app.state.models, app.state.bodies = settings, models, Bodies()
    app.state.store = LiveStore(reached.ledger)
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
    app.add_api_route("/openapi.json", _openapi, methods=["GET"])
    app.add_exception_handler(StarletteHTTPException, _not_served)
    app.add_exception_handler(Exception, _broken)
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
    """Whoever asks may know whether, and with the token why not."""
    models = request.app.state.models.values()
    ready = all(model.follower.current is not None for model in models)
    content: Any = {"ready": ready}
    if _refused(request) is None:
        content["models"] = {model.name: model.follower.problem or "ready" for model in models}
    return _json(content, status=200 if ready else 503)


async def _models(request: Request) -> Response:
    check = _refused(request)
    return check or _json([model.as_json() for model in request.app.state.models.values()])


async def _version(request: Request) -> Response:
    check = _refused(request)
    return check or _json(_model(request).as_json())


async def _openapi(request: Request) -> Response:
    check = _refused(request)
    return check or _json(describe(request.app.state.models))


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
    return await _answered(request, _PREDICT)


async def _invocations(request: Request) -> Response:
    return await _answered(request, _INVOCATIONS)


async def _answered(request: Request, protocol: _Protocol) -> Response:
    """Answer one request, wholly by one version: that which serves when its body is there."""
    if check := _refused(request):
        return check
    model = _model(request)
    request.state.request_id = request_id(request)
    begun = perf_counter()
    version = None
    try:
        async with _read(request) as body:
            begun = perf_counter()
            version = model.version()
            answered = await _answer(model, version, request, body, protocol)
            version = answered.version
            response = Response(protocol.write(version, answered.answer), media_type=JSON)
            _name_ignored(response, answered.rows)
            instruments.ROWS.labels(model.name, version.number).inc(answered.rows.count)
    except ClientDisconnect:
        response = Response(status_code=_CLIENT_CLOSED_REQUEST)
    except (RequestRefused, NotLoaded, TooBusy, CannotBeWritten) as error:
        response = _refusal(error)
    response.headers["X-Request-Id"] = request.state.request_id
    if version is not None:
        response.headers["X-Model-Version"] = str(version.number)
        response.headers["X-Model-Digest"] = version.digest
    instruments.REQUESTS.labels(model.name, protocol.name, response.status_code).inc()
    instruments.SECONDS.labels(model.name).observe(perf_counter() - begun)
    return response


def _read(request: Request) -> AbstractAsyncContextManager[bytes]:
    settings, bodies = request.app.state.settings, request.app.state.bodies
    context: AbstractAsyncContextManager[bytes] = bodies.read(
        request, settings.max_body_bytes, settings.body_seconds
    )
    return context


async def _answer(
    model: ServedModel, serving: LoadedVersion, request: Request, body: bytes, protocol: _Protocol
) -> Answered:
    """Answer by the version that serves or, to the canary's clients, by the candidate if it can."""
    reply = partial(_answer_by, model, request, body, protocol)
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
    model: ServedModel, request: Request, body: bytes, protocol: _Protocol, version: LoadedVersion
) -> Answered:
    read = partial(protocol.parse, body, request.headers.get("content-type", JSON))
    rows = await request.app.state.bodies.parse(len(body), partial(read, version.shape))
    answer = await model.answer(version, rows)
    return Answered(request.state.request_id, datetime.now(UTC), version, rows, answer, read, len(body))


def _name_ignored(response: Response, rows: Rows) -> None:
    if rows.ignored:
        names = ", ".join(islice(rows.ignored, _NAMES_IN_HEADER))
        response.headers["X-Ignored-Columns"] = header_text(names[:_LETTERS_IN_HEADER])


def _client(request: Request) -> str:
    """Return what tells a client from others, so that the same version answers it each time."""
    return request.headers.get("x-client-id") or (request.client.host if request.client else "")


async def _feedback(request: Request) -> Response:
    """Keep the labels of a request that was answered before."""
    if check := _refused(request):
        return check
    model = _model(request)
    try:
        async with _read(request) as body:
            feedback = parse_feedback(body, request.headers.get("content-type", JSON))
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


def _refused(request: Request) -> Response | None:
    try:
        check_token(request, request.app.state.settings.token)
    except RequestRefused as error:
        return _refusal(error)
    return None


def _refusal(error: PodiumError) -> Response:
    """Return the refusal in MLflow's form."""
    headers = {}
    if isinstance(error, RequestRefused):
        status, code = error.status, "BAD_REQUEST"
    elif isinstance(error, CannotBeWritten):
        status, code = 500, "INTERNAL_ERROR"
        log.error("%s", error)
    else:
        status, code = 503, "TEMPORARILY_UNAVAILABLE"
        headers["Retry-After"] = "1"
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (408, 413):
        headers["Connection"] = "close"
    return _failure(status, code, str(error), headers)


async def _not_served(_: Request, error: Any) -> Response:
    """Say in the same form that there is no such route, model or method."""
    code = "RESOURCE_DOES_NOT_EXIST" if error.status_code == 404 else "BAD_REQUEST"
    return _failure(error.status_code, code, str(error.detail), dict(error.headers or {}))


async def _broken(request: Request, error: Exception) -> Response:
    """Keep the trace to ourselves; uvicorn logs it."""
    number = request_id(request)
    log.error("Request %s: %s", number, error)
    return _failure(500, "INTERNAL_ERROR", f"something is broken here; the log tells of request {number}", {})


def _failure(status: int, code: str, message: str, headers: dict[str, str]) -> Response:
    return _json({"error_code": code, "message": message}, status, headers)


def _model(request: Request) -> ServedModel:
    """Return the model that a route names; the only one where it names none."""
    models: dict[str, ServedModel] = request.app.state.models
    name = request.path_params.get("model")
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name not in models:
        where = ", ".join(f"/models/{model}" for model in models)
        raise StarletteHTTPException(404, f"served here: {where}")
    return models[name]


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type=JSON)
