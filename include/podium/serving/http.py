"""What protects the server from its clients: slow ones, large ones, unknown ones."""

from __future__ import annotations

import asyncio
import hmac
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from pydantic import SecretStr
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from podium.errors import RequestRefused, TooBusy
from podium.serving import requests
from podium.serving.requests import Body, Rows, Shape

# The headers of a request, or the rest of one that was answered early, have to come within this.
HEADER_SECONDS = 10.0
# A client has this long to take its answer off our hands.
ANSWER_SECONDS = 60.0
MAX_HEADER_BYTES = 64 * 1024
MAX_PIPELINED = 100
# Bodies beyond this need a place among the large ones, of which there are few: they are what takes memory.
LARGE_BODY_BYTES = 256 * 1024
LARGE_AT_ONCE = 8

_REQUEST_ID = re.compile(r"[!-~]{1,200}")


class _JoinedWrites:
    """A transport that sends at once what is written in pieces.

    uvicorn writes the head and the body of an answer apart, and uvloop sends each piece immediately. A second
    system call and packet take a tenth of all the time of a small answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send something in the loop's next round, or when told to."""
        if not data:
            return
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)

    def flush(self) -> None:
        """Send what was written."""
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.writelines(pieces)

    def close(self) -> None:
        """Send what was written, and close."""
        self.flush()
        self._transport.close()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which alone would wait for ever, for headers of any size."""

    # What is overridden, and what `self` has, is private to uvicorn:
    # https://github.com/Kludex/uvicorn/blob/0.54.0/uvicorn/protocols/http/httptools_impl.py
    _timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None
    _bytes_without_body = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: the headers of the first request have to come in time."""
        self._writes = _JoinedWrites(transport, self.loop)
        super().connection_made(self._writes)  # type: ignore[arg-type]
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Close a connection with endless headers, before or after a body."""
        self._bytes_without_body += len(data)
        super().data_received(data)
        if self._bytes_without_body > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._refuse_headers()

    def on_message_begin(self) -> None:
        """Give the headers of each request their time."""
        super().on_message_begin()
        self._start_timer()

    def on_headers_complete(self) -> None:
        """The headers came in time; begin to answer, unless the connection is given up already."""
        self._stop_timer()
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > MAX_HEADER_BYTES:
            self._refuse_headers()
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.close()
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._bytes_without_body = 0
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A whole request is here. If it was answered before, the next has its time."""
        self._bytes_without_body = 0
        if self.transport.is_closing():
            return
        super().on_message_complete()
        if self.cycle.response_complete:
            self._start_timer()

    def on_response_complete(self) -> None:
        """Give the rest of a request that was answered early, or the next one's headers, their time."""
        self._writes.flush()
        super().on_response_complete()
        if self.cycle.response_complete:
            self._start_timer()

    def pause_writing(self) -> None:
        """An answer waits for its client: not for ever."""
        super().pause_writing()
        self._answer_timer = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes its answer."""
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
        super().resume_writing()

    def _refuse_headers(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response(f"The headers are larger than {MAX_HEADER_BYTES:,} bytes.")
        else:
            self.transport.close()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# How the server runs, wherever it is started.
UVICORN: dict[str, Any] = {
    "http": GuardedProtocol,
    "ws": "none",
    "access_log": False,
    "server_header": False,
}


class Bodies:
    """Reads the bodies of requests. Large ones are few at a time: others wait, and are not read meanwhile."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(LARGE_AT_ONCE)
        self._parsing = asyncio.Lock()

    @asynccontextmanager
    async def read(self, request: Request, max_bytes: int, seconds: float) -> AsyncIterator[bytes]:
        """Read a request's body; a large one keeps its place while the caller works with it.

        Raises:
            RequestRefused: It is too large, or takes too long; states the limit.
            TooBusy: Too many large ones were there before.
            ClientDisconnect: The client went away.
        """
        chunks, size, placed, waits = [], 0, False, False
        try:
            try:
                async with asyncio.timeout(seconds):
                    async for chunk in _stream(request, max_bytes):
                        size += len(chunk)
                        if size > LARGE_BODY_BYTES and not placed:
                            waits = True
                            await self._places.acquire()
                            placed, waits = True, False
                        chunks.append(chunk)
            except TimeoutError as error:
                if waits:
                    raise TooBusy(
                        "too many large requests are being read already; try again later"
                    ) from error
                raise RequestRefused(f"the body did not arrive within {seconds:g} s", 408) from error
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            if placed:
                self._places.release()

    async def parse(self, body: Body, shape: Shape) -> Rows:
        """Return a body's rows as a version takes them; see ``requests.read``.

        Large bodies are parsed in a thread, one by one: small ones need not wait.
        """
        if len(body.content) <= LARGE_BODY_BYTES:
            return requests.read(body, shape)
        async with self._parsing:
            return await asyncio.to_thread(requests.read, body, shape)


async def _stream(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Hand on the pieces of a body; one that is too large is thrown away."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RequestRefused("content-encoding: send the body uncompressed", 415)
    too_large = RequestRefused(f"the body is larger than {max_bytes:,} bytes: send several requests", 413)
    size, declared = 0, int(request.headers.get("content-length", 0))
    if declared > max_bytes and "expect" in request.headers:
        raise too_large
    # A client that is cut off while it sends does not read why: it may send all.
    async for chunk in request.stream():
        size += len(chunk)
        if max(size, declared) <= max_bytes:
            yield chunk
    if size > max_bytes:
        raise too_large


def check_token(request: Request, token: SecretStr | None) -> None:
    """Make sure that a request carries the token, if one is asked for.

    Raises:
        RequestRefused: It does not.
    """
    if token is None:
        return
    kind, _, found = request.headers.get("authorization", "").partition(" ")
    expected = token.get_secret_value().encode()
    if kind.lower() != "bearer" or not hmac.compare_digest(found.strip().encode("latin-1"), expected):
        raise RequestRefused("send the server's token: Authorization: Bearer ...", 401)


def request_id(request: Request) -> str:
    """Return the id that a client gave its request, if it may stand in a log and a header; else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
