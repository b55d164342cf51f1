"""Calls of Airflow's own REST API from within the API server, as whoever sent the form.

So a button of ours can do what the person can do in Airflow, and nothing else: the same permissions, the same
audit log, the same door of answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import Request

_TIMEOUT_SECONDS = 60


async def answer(request: Request, run: str, option: str, form: Mapping[str, Any]) -> httpx.Response:
    """Answer the approval of a run.

    Args:
        request: What the person sent; its login is passed on.
        run: As ``dag_id/run_id``.
        option: ``Approve`` or ``Reject``.
        form: The fields of the card's form.
    """
    path = f"{_run(run)}/taskInstances/approve/-1/hitlDetails"
    return await _call(request, "PATCH", path, {"chosen_options": [option], "params_input": dict(form)})


async def trigger(request: Request, dag_id: str, form: Mapping[str, Any]) -> httpx.Response:
    """Start a run of a Dag."""
    body = {"logical_date": None, "conf": dict(form)}
    return await _call(request, "POST", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns", body)


async def unpause(request: Request, dag_id: str) -> httpx.Response:
    """Let a Dag run."""
    return await _call(request, "PATCH", f"/api/v2/dags/{quote(dag_id, safe='')}", {"is_paused": False})


async def run_state(request: Request, run: str) -> tuple[str, str]:
    """Return the state of a run and the note beside it; "" where Airflow does not tell."""
    found = await _call(request, "GET", _run(run), None)
    told = found.json() if found.is_success else {}
    return str(told.get("state") or ""), str(told.get("note") or "")


def told(response: httpx.Response) -> str:
    """Return in words what Airflow said of a request that it refused."""
    try:
        detail = response.json().get("detail", "")
    except (ValueError, AttributeError):
        detail = ""
    if response.status_code == httpx.codes.FORBIDDEN:
        return "Your role in Airflow may not do this. Nothing was done."
    return str(detail) or f"Airflow answered {response.status_code}."


def _run(run: str) -> str:
    dag_id, _, run_id = run.partition("/")
    return f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"


async def _call(request: Request, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
    login = {name: request.headers[name] for name in ("cookie", "authorization") if name in request.headers}
    transport = httpx.ASGITransport(app=request.scope["podium.airflow"], raise_app_exceptions=False)
    origin = f"{request.url.scheme}://{request.url.netloc}"
    async with httpx.AsyncClient(transport=transport, base_url=origin, timeout=_TIMEOUT_SECONDS) as client:
        return await client.request(method, path, json=body, headers=login)
