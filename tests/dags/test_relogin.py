"""Where a login leads that asks for no password; tests/browser follows a link through the real one."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from podium_airflow.relogin import Message, Receive, Relogin, Send

LINK = "/podium/decisions/7?x=1"


def led_to(asked: str, location: str = "/auth/", *, place: str = "", **scope: Any) -> str:
    """Ask for the login with ``next``; return where an answer of FAB to ``location`` leads."""
    told: list[Message] = []

    async def fab(_scope: Any, _receive: Receive, send: Send) -> None:
        headers = [(b"set-cookie", b"_token=new"), (b"Location", location.encode())]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        raise AssertionError("nothing is to be read")

    async def send(message: Message) -> None:
        told.append(message)

    query = f"next={quote(asked, safe='')}".encode()
    asks = {"type": "http", "method": "GET", "path": f"{place}/auth/login/", "query_string": query, **scope}
    asyncio.run(Relogin(fab)(asks, receive, send))
    start, body = told
    assert (b"set-cookie", b"_token=new") in start["headers"]
    assert body == {"type": "http.response.body", "body": b""}
    return dict(start["headers"])[b"Location"].decode()


def test_whoever_has_only_lost_the_token_is_led_to_the_page_that_asked() -> None:
    assert led_to(LINK) == LINK
    assert led_to(LINK, "http://airflow.example/auth/") == LINK
    assert led_to(f"/team{LINK}", "/team/auth/", place="/team") == f"/team{LINK}"
    assert led_to("/podium/models/a b\r\nSet-Cookie: x") == "/podium/models/a%20b%0D%0ASet-Cookie:%20x"


@pytest.mark.parametrize(
    "asked",
    ["", "/", "/dags", "//elsewhere.example/podium/models", "https://elsewhere.example/podium/models",
     "javascript:/podium/models", "\\\\elsewhere.example/podium/", "/team/podium/models"],
)  # fmt: skip
def test_any_other_aim_is_left_to_airflow(asked: str) -> None:
    assert led_to(asked) == "/auth/"


def test_what_leads_elsewhere_than_home_still_does() -> None:
    assert led_to(LINK, "https://sign-on.example/authorize") == "https://sign-on.example/authorize"
    assert led_to(LINK, method="POST") == "/auth/"
    assert led_to(LINK, path="/auth/logout/") == "/auth/"
