"""The pages' templates, and the headers that each response has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from podium.gates.report import OUTCOMES, outcome, quantity
from podium.lifecycle.retention_rules import size_text
from podium.names import in_utc, version_name
from podium.registry.pages import version_page
from podium.reporting.overview import describe

# Nothing is loaded from elsewhere, nothing runs that a page holds itself, and only Airflow frames it.
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


def ago(moment: datetime) -> str:
    """Say how long ago a moment was, or how long it is until then."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if size >= length:
            words = f"{size // length:.0f} {unit}"
            if unit == "d" and size < 10 * length:
                words += f" {size % length // 3_600:.0f} h"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now" if seconds > 0 else "in under a minute"


def render(request: Request, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """Return a page; all values are escaped.

    Args:
        request: Whose answer it is; its address says where the pages are.
        template: Its file.
        status: The HTTP status.
        values: What the template shows.
    """
    here = str(request.scope["root_path"])
    places = {"here": here, "airflow": here.removesuffix("/podium")}
    page = _TEMPLATES.get_template(template).render(**places, **values)
    return HTMLResponse(page, status, headers=dict(HEADERS))


def _words(outcome: str) -> str:
    """Leave out the sign: a reader's machine may have no font for it, and a screen reader spells it."""
    return outcome.partition(" ")[2]


def _environment() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "utc": in_utc,
        "ago": ago,
        "version": version_name,
        "size": size_text,
        "in_path": lambda text: quote(str(text), safe=""),
        "outcome": lambda result: _words(outcome(result)),
        "status": lambda status: _words(OUTCOMES[status]),
        "describe": describe,
    }
    templates.globals |= {"quantity": quantity, "version_page": version_page}
    return templates


_TEMPLATES = _environment()
