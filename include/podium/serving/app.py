"""The routes of the model server."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from multiprocessing import parent_process
from time import monotonic, perf_counter
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from podium.errors import CannotBeWritten, NotLoaded, PodiumError, RequestRefused, TooBusy
from podium.ledger.live_answers import LiveStore
from podium.services import Services, connect_server
from podium.serving import instruments
from podium.serving.answers import invocation_json, predict_json
from podium.serving.feedback import SWITCH_ON, parse_feedback, store_feedback
from podium.serving.http import Bodies, check_token, request_id
from podium.serving.loaded_version import LoadedVersion
from podium.serving.openapi import describe
from podium.serving.presence import Presence
from podium.serving.process import end_with_parent, own_folder
from podium.serving.requests import JSON, Body, Dialect, Rows
from podium.serving.served_model import ServedModel
from podium.serving.settings import ServingSettings

log = logging.getLogger(__name__)

_CLIENT_CLOSED_REQUEST = 499
# How long a process lets the others answer while it loads its models.
_FIRST_LOOK_SECONDS = 60.0
_NAMES_IN_HEADER, _LETTERS_IN_HEADER = 50, 1000
_NOT_FOR_HEADERS = re.compile(r"[^ -~]")

_Endpoint = Callable[[Request], Awaitable[Response]]
_WRITE: Mapping[Dialect, Callable[[LoadedVersion, Any], bytes]] = {
    Dialect.PREDICT: predict_json,
    Dialect.INVOCATIONS: invocation_json,
}


def create_app(settings: ServingSettings | None = None, services: Services | None = None) -> FastAPI:
    """Make the server of the models that the settings name.

    Args:
        settings: Without them those of the environment.
        services: The registry and the ledger; without them those of the environment.
    """
    settings = settings or ServingSettings()
    reached = services or connect_server()
    bodies = Bodies()
    models = {name: ServedModel(reached, settings, name, bodies) for name in settings.models}
    presence = Presence(reached.ledger, settings.server_name, [model.follower for model in models.values()])
    app = FastAPI(lifespan=_lifespan(models, presence), openapi_url=None)
    app.state.settings, app.state.models, app.state.bodies = settings, models, bodies
    app.state.store = LiveStore(reached.ledger)
    # Plain routes: FastAPI's own read parameters that nothing here has, in a tenth of a request's time.
    for prefix in ("", "/models/{model}"):
        app.add_route(f"{prefix}/predict", _with_token(_predict), methods=["POST"])
        app.add_route(f"{prefix}/invocations", _with_token(_invocations), methods=["POST"])
        app.add_route(f"{prefix}/predict-mlflow", _with_token(_invocations), methods=["POST"])
        app.add_route(f"{prefix}/feedback", _with_token(_feedback), methods=["POST"])
        app.add_route(f"{prefix}/version", _with_token(_version), methods=["GET"])
    app.add_route("/health", _health, methods=["GET"])
    app.add_route("/ping", _health, methods=["GET"])
    app.add_route("/ready", _ready, methods=["GET"])
    app.add_route("/models", _with_token(_models), methods=["GET"])
    app.add_route("/metrics", _with_token(_metrics), methods=["GET"])
    app.add_route("/openapi.json", _with_token(_openapi), methods=["GET"])
    app.add_exception_handler(StarletteHTTPException, _not_served)
    app.add_exception_handler(Exception, _broken)
    return app


def _lifespan(models: dict[str, ServedModel], presence: Presence) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        end_with_parent()
        with own_folder() as folder:
            for model in models.values():
                model.start(folder)
            presence.start()
            if parent_process() is not None:
                await asyncio.to_thread(_wait_for_first_look, models.values())
            yield
            presence.stop()
            for model in models.values():
                model.stop()

    return run


def _wait_for_first_look(models: Iterable[ServedModel]) -> None:
    """Accept nothing before the models are loaded, or could not be.

    All processes accept from one socket: one that takes the place of another would answer 503 while those
    beside it serve.
    """
    until = monotonic() + _FIRST_LOOK_SECONDS
    for model in models:
        model.follower.looked.wait(max(0.0, until - monotonic()))


async def _health(_: Request) -> Response:
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
    return _json([model.as_json() for model in request.app.state.models.values()])


async def _version(request: Request) -> Response:
    return _json(_model(request).as_json())


async def _openapi(request: Request) -> Response:
    return _json(describe(request.app.state.models))


async def _metrics(_: Request) -> Response:
    registry = None
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    content = generate_latest() if registry is None else generate_latest(registry)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


async def _predict(request: Request) -> Response:
    return await _answered(request, Dialect.PREDICT)


async def _invocations(request: Request) -> Response:
    return await _answered(request, Dialect.INVOCATIONS)


async def _answered(request: Request, dialect: Dialect) -> Response:
    """Answer one request, wholly by one version: that which serves when its body is there."""
    model, number = _model(request), request_id(request)
    begun = perf_counter()
    version = None
    try:
        async with _read(request) as content:
            begun = perf_counter()
            version = model.version()
            body = Body(content, _content_type(request), dialect)
            answered = await model.answer(body, number, _client(request), version)
            version = answered.version
            response = Response(_WRITE[dialect](version, answered.answer), media_type=JSON)
            _name_ignored(response, answered.rows)
            instruments.ROWS.labels(model.name, version.number).inc(answered.rows.count)
    except ClientDisconnect:
        response = Response(status_code=_CLIENT_CLOSED_REQUEST)
    except (RequestRefused, NotLoaded, TooBusy, CannotBeWritten) as error:
        response = _refusal(error)
    response.headers["X-Request-Id"] = number
    if version is not None:
        response.headers["X-Model-Version"] = str(version.number)
        response.headers["X-Model-Digest"] = version.digest
    instruments.REQUESTS.labels(model.name, dialect, response.status_code).inc()
    instruments.SECONDS.labels(model.name).observe(perf_counter() - begun)
    return response


def _read(request: Request) -> AbstractAsyncContextManager[bytes]:
    settings, bodies = request.app.state.settings, request.app.state.bodies
    context: AbstractAsyncContextManager[bytes] = bodies.read(
        request, settings.max_body_bytes, settings.body_seconds
    )
    return context


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", JSON)


def _name_ignored(response: Response, rows: Rows) -> None:
    if rows.ignored:
        names = ", ".join(islice(rows.ignored, _NAMES_IN_HEADER))
        response.headers["X-Ignored-Columns"] = _NOT_FOR_HEADERS.sub("?", names[:_LETTERS_IN_HEADER])


def _client(request: Request) -> str:
    """Return what tells a client from others, so that the same version answers it each time."""
    return request.headers.get("x-client-id") or (request.client.host if request.client else "")


async def _feedback(request: Request) -> Response:
    """Keep the labels of a request that was answered before."""
    model = _model(request)
    try:
        async with _read(request) as content:
            feedback = parse_feedback(content, _content_type(request))
        if model.trial is None and (model.watch is None or not model.watch.stores):
            raise RequestRefused(SWITCH_ON, 409)
        await asyncio.to_thread(store_feedback, request.app.state.store, model.name, feedback)
        response = _json({"request_id": feedback.request_id, "labels": len(feedback.labels)}, 202)
    except ClientDisconnect:
        response = Response(status_code=_CLIENT_CLOSED_REQUEST)
    except PodiumError as error:
        response = _refusal(error)
    instruments.REQUESTS.labels(model.name, "feedback", response.status_code).inc()
    return response


def _with_token(endpoint: _Endpoint) -> _Endpoint:
    """Return an endpoint that answers only whoever has the server's token, if it asks for one."""

    async def checked(request: Request) -> Response:
        return _refused(request) or await endpoint(request)

    return checked


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
    return _failure(
        500, "INTERNAL_ERROR", f"internal error; the server's log has the details of request {number}", {}
    )


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
