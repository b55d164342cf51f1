"""What protects the server from its clients: slow ones, large ones, unknown ones."""

from __future__ import annotations

import asyncio
import hmac

from fastapi import Request
from pydantic import SecretStr
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from podium.serving.requests import RequestRefused

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which alone would wait for ever for headers, of any size."""

    _header_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: the headers of the first request have to come in time."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(HEADER_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count the headers of each request anew, and give each its time."""
        super().on_message_begin()
        self._header_bytes = 0
        self._stop_timer()
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse a connection with endless headers."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The headers came in time."""
        self._stop_timer()
        super().on_headers_complete()

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


async def read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Read a request's body.

    Raises:
        RequestRefused: It is too large, or takes too long; states the limit.
        ClientDisconnect: The client went away.
    """
    too_large = RequestRefused(f"the body is larger than {max_bytes:,} bytes: send several requests", 413)
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError as error:
        raise RequestRefused(f"the body did not come within {seconds:g} s", 408) from error
    return b"".join(chunks)


def check_token(request: Request, token: SecretStr | None) -> None:
    """Make sure that a request carries the token, if one is asked for.

    Raises:
        RequestRefused: It does not.
    """
    if token is None:
        return
    kind, _, found = request.headers.get("authorization", "").partition(" ")
    expected = token.get_secret_value().encode()
    if kind.lower() != "bearer" or not hmac.compare_digest(found.strip().encode(), expected):
        raise RequestRefused("send the server's token: Authorization: Bearer ...", 401)
