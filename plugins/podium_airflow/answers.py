"""The door of answers: whatever somebody answers is on record at once.

Airflow keeps one answer. Of two that come at the same moment it loses one and says yes to both, and it turns
away whoever answers while another answer is looked at. So they come in here one after the other, and each is
put into the ledger: there a rejection decides at once, and approvals are counted until the approval task
decides by them.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from podium.errors import NotFound, PodiumError
from podium.text import one_line
from podium_airflow.closing import resume_answered
from podium_airflow.people import person_in_database

if TYPE_CHECKING:
    from podium.lifecycle.approval_policy import Answer, Person
    from podium.model_file.spec import ModelSpec
    from podium.services import Services

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_ROUTE = re.compile(
    r".*/api/v2/dags/(?P<dag>[^/]+)/dagRuns/(?P<run>[^/]+)/taskInstances/[^/]+/-?[0-9]+/hitlDetails/?"
)
_LONGEST_BODY = 2**20
_LOAD_AFTER_SECONDS = 15.0
# Only for who comes first: what somebody answers is read from what Airflow took.
_REJECTS = b'"Reject"'
_OK, _CONFLICT, _TOO_LARGE, _UNAVAILABLE = 200, 409, 413, 503
# Filled by the auth manager with whom it let answer, as Airflow's login says.
_answering: ContextVar[list[str] | None] = ContextVar("answering", default=None)


class Taken(NamedTuple):
    """What became of an answer.

    Attributes:
        told: What the person is told instead of what Airflow says; None where Airflow's word holds.
        wakes: Whether the approval task has to look at the record again.
    """

    told: str | None = None
    wakes: bool = False


def note_who_answers(name: str) -> None:
    """Tell the door who is let in with an answer."""
    if (names := _answering.get()) is not None:
        names.append(name)


def read_answer(spec: ModelSpec, said: Mapping[str, Any], who: Person | None, at: datetime) -> Answer:
    """Read ``chosen_options`` and ``params_input``, which Airflow checks against no form."""
    from podium.lifecycle.approval_policy import Answer

    form = said["params_input"] or {}
    return Answer(
        option=next(iter(said["chosen_options"]), ""),
        reason=reason if isinstance(reason := form.get("reason"), str) else "",
        who=who,
        at=at,
        ticked=frozenset(
            statement for name, statement in spec.approval.ticks.items() if form.get(name) is True
        ),
    )


def take(run: str, who: str, said: Mapping[str, Any], at: datetime, *, turned_away: bool) -> Taken:
    """Put an answer on record.

    Args:
        run: The run that asks, as ``dag_id/run_id``.
        who: The login name.
        said: The answer, as for ``read_answer``.
        at: When it was given.
        turned_away: Whether Airflow has another answer already.

    Raises:
        Outage: The ledger did not answer.
        PodiumError: The model file cannot be read.
    """
    from podium.lifecycle import approval
    from podium.lifecycle.approval_policy import may_decide
    from podium.model_file.loading import find_spec
    from podium.settings import models_dir

    services = connected()
    try:
        request = approval.find_request(services, run)
    except NotFound:
        return Taken()
    spec, person = find_spec(models_dir(), request.model), person_in_database(who)
    if turned_away and not may_decide(spec.approval, person):
        # Airflow's audit log has the try, as of all whom it does not ask.
        return Taken()
    taken = approval.take_answer(services, spec.approval, request, read_answer(spec, said, person, at))
    if approval.is_late(taken):
        return Taken(f"Your answer is on record, and changes nothing: {one_line(taken.reason)}.")
    if not turned_away:
        if taken.event != "answer_invalid":
            return Taken()
        return Taken(
            f"Your answer does not count: {one_line(taken.reason)}. Nothing was decided; answer again in a "
            "few seconds."
        )
    counts = {"rejected": "decides: it is rejected", "approval_given": "counts as an approval"}
    what = counts.get(taken.event, f"does not count: {one_line(taken.reason)}")
    return Taken(f"Another answer came just before. Yours is on record as well, and {what}.", wakes=True)


@functools.cache
def connected() -> Services:
    """Return the registry and the ledger; one pool of connections for the API server."""
    from podium.services import connect

    return connect()


def _load_soon() -> None:
    """Import what answers need, when the API server has started: the first person would wait for it."""
    timer = threading.Timer(_LOAD_AFTER_SECONDS, _load)
    timer.daemon = True
    timer.start()


def _load() -> None:
    import podium.lifecycle.approval
    import podium.registry.client  # noqa: F401 - MLflow is most of it


class AnswersDoor:
    """The middleware of Airflow's API server around the route by which people answer."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()
        # Threads of its own: what waits for the ledger must not hold those by which Airflow answers.
        self._threads = anyio.CapacityLimiter(8)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on; what an answer amounts to is on record before its response is sent."""
        if scope["type"] == "lifespan":
            _load_soon()
        route = _ROUTE.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if route is None or scope["method"] != "PATCH":
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if len(body) > _LONGEST_BODY:
            told = f"The answer has more than {_LONGEST_BODY:,} bytes."
            response = _rewritten(_Response(_TOO_LARGE, [], b""), _TOO_LARGE, told)
        else:
            run = f"{route['dag']}/{route['run']}"
            turn = self._turns.setdefault(run, _Turn())
            response = await self._answered(run, turn, scope, body, receive)
        await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _answered(
        self, run: str, turn: _Turn, scope: MutableMapping[str, Any], body: bytes, receive: Receive
    ) -> _Response:
        names: list[str] = []
        before = _answering.set(names)
        try:
            async with turn.taken(first=_REJECTS in body):
                response = await self._pass(scope, body, receive)
            if response.status not in (_OK, _CONFLICT) or not names:
                return response
            turned_away = response.status == _CONFLICT
            said = json.loads(body if turned_away else response.body)
            at = datetime.now(UTC) if turned_away else datetime.fromisoformat(said["responded_at"])
            record = functools.partial(take, run, names[0], said, at, turned_away=turned_away)
            taken = await anyio.to_thread.run_sync(record, limiter=self._threads)
            if not turned_away:
                resume = functools.partial(resume_answered, *run.split("/", 1))
                await anyio.to_thread.run_sync(resume, limiter=self._threads)
            if taken.wakes:
                # The question may have been put anew before this was on record: then this answers it.
                await self._pass(scope, body, receive)
        except PodiumError as error:
            log.error("%s: an answer is not on record: %s", run, error.with_code())
            told = f"Your answer may not be on record: {one_line(str(error))}. See the card in a minute."
            return _rewritten(response, _UNAVAILABLE, told)
        finally:
            _answering.reset(before)
        return response if taken.told is None else _rewritten(response, _CONFLICT, taken.told)

    async def _pass(self, scope: MutableMapping[str, Any], body: bytes, receive: Receive) -> _Response:
        """Return what Airflow answers to a request with this body."""
        unread: list[Message] = [{"type": "http.request", "body": body}]
        status, headers, parts = _UNAVAILABLE, [], list[bytes]()

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        async def keep(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message["headers"])
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        # Read here, so not compressed.
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self._app({**scope, "headers": plain}, replay, keep)
        return _Response(status, headers, b"".join(parts))


class _Turn:
    """Lets one answer to a run after the other into Airflow, rejections before all that wait.

    Fifteen at once would take all of Airflow's connections and wait for each other: then it stands still.
    """

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        self._rejections = 0

    @asynccontextmanager
    async def taken(self, *, first: bool) -> AsyncIterator[None]:
        """Hold the turn; whoever waits longest is next, among rejections and then among the others."""
        self._rejections += first
        try:
            await self._lock.acquire()
            while self._rejections and not first:
                self._lock.release()
                await self._lock.acquire()
        finally:
            self._rejections -= first
        try:
            yield
        finally:
            self._lock.release()


class _Response(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def _rewritten(response: _Response, status: int, detail: str) -> _Response:
    """Say something else in Airflow's own shape, with its other headers, such as cookies."""
    body = json.dumps({"detail": detail}).encode()
    kept = [header for header in response.headers if header[0] not in (b"content-length", b"content-type")]
    about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return _Response(status, kept + about, body)


async def _read(receive: Receive) -> bytes:
    """Return the body, or a little more than may be of a longer one."""
    body = b""
    while len(body) <= _LONGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body
