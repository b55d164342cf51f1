"""The way back of whoever is logged in to Airflow still, but whose token is over.

FAB gives them a new token without asking for a password, and leads them to the home page, whatever page they
came from. So a link to a decision, sent yesterday, would end there. This leads them where the link led.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# Private to FAB's provider are the addresses of its login and of its home, from where Airflow's comes next:
# https://github.com/apache/airflow/blob/providers-fab/3.10.2/providers/fab/src/airflow/providers/fab/www/views.py
_LOGIN, _HOME = "/auth/login/", "/auth/"
_RESERVED = "/?&=%:@+,"


class Relogin:
    """Airflow's application, whose login leads to a page of Podium where one asked for it."""

    def __init__(self, airflow: Application) -> None:
        """Wrap Airflow's application."""
        self.airflow = airflow

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; where a login would lead home, lead to the page that asked for it."""
        wanted = wanted_page(scope)
        await self.airflow(scope, receive, _leading(send, scope, wanted) if wanted else send)


def wanted_page(scope: MutableMapping[str, Any]) -> str:
    """Return the page of Podium that asked for the login which a request opens; "" for any other request."""
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].endswith(_LOGIN):
        return ""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("next", [""])[0]
    page, place = urlsplit(asked), scope["path"].removesuffix(_LOGIN)
    ours = page.path.startswith(f"{place}/podium/") and not (page.scheme or page.netloc)
    return quote(asked, safe=_RESERVED) if ours else ""


def _leading(send: Send, scope: MutableMapping[str, Any], wanted: str) -> Send:
    home = scope["path"].removesuffix(_LOGIN) + _HOME

    async def sent(message: Message) -> None:
        await send(_led(message, home, wanted))

    return sent


def _led(message: Message, home: str, wanted: str) -> Message:
    """Return the beginning of an answer that leads home with another aim; anything else as it is."""
    headers = [
        (name, wanted.encode() if name.lower() == b"location" and _path(value) == home else value)
        for name, value in message.get("headers", ())
    ]
    return {**message, "headers": headers} if "headers" in message else message


def _path(location: bytes) -> str:
    return urlsplit(location.decode("latin-1")).path
