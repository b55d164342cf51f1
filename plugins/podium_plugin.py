"""Tells Airflow of Podium's pages, and of the door through which answers come.

Every process of Airflow imports this: each task, too. So all that it names is imported when the API server
first needs it.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar
from urllib.parse import urlsplit

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import conf

_PREFIX = "/podium"
# Where a browser finds Airflow, as seen from its host.
_BASE = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


class LazyPages:
    """The application with Podium's pages, which is imported for the first request."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; the pages reach Airflow's own application by its scope."""
        from anyio import to_thread

        pages = await to_thread.run_sync(_pages)
        await pages({**scope, "podium.airflow": scope.get("app")}, receive, send)

    @property
    def routes(self) -> list[Any]:
        """The routes of the pages, for whoever lists those of Airflow."""
        return list(_pages().routes)


@functools.cache
def _pages() -> Any:
    from podium_airflow.pages.app import app

    return app


def answers_door(app: Any) -> Any:
    """Put the door of answers around Airflow's application."""
    from podium_airflow.answers import AnswersDoor

    return AnswersDoor(app)


def relogin(app: Any) -> Any:
    """Put around Airflow's application what leads people back to the page that they came from."""
    from podium_airflow.relogin import Relogin

    return Relogin(app)


class RunNotes:
    """Airflow's listener: when a run has ended, the scheduler writes its note."""

    @hookimpl  # type: ignore[untyped-decorator]
    def on_dag_run_success(self, dag_run: Any) -> None:
        """Write the note of a run that came to its end."""
        _write_note(dag_run)

    @hookimpl  # type: ignore[untyped-decorator]
    def on_dag_run_failed(self, dag_run: Any) -> None:
        """Write the note of a run that failed."""
        _write_note(dag_run)


def _write_note(dag_run: Any) -> None:
    from podium_airflow.notes import write_note

    write_note(dag_run)


class PodiumPlugin(AirflowPlugin):
    """The pages, their places in Airflow's menu, and the door."""

    name = "podium"
    fastapi_apps: ClassVar[list[Any]] = [{"app": LazyPages(), "url_prefix": _PREFIX, "name": "Podium"}]
    fastapi_root_middlewares: ClassVar[list[Any]] = [
        {"middleware": answers_door, "name": "Podium's answers"},
        {"middleware": relogin, "name": "Podium's links after a login"},
    ]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Models",
            "href": f"{_BASE}{_PREFIX}/models",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "models",
            "icon": f"{_BASE}{_PREFIX}/static/icon.svg",
            "icon_dark_mode": f"{_BASE}{_PREFIX}/static/icon-dark.svg",
        },
        {
            "name": "Model",
            "href": f"{_BASE}{_PREFIX}/dags/{{DAG_ID}}",
            "destination": "dag",
            "url_route": "model",
            "icon": f"{_BASE}{_PREFIX}/static/icon.svg",
            "icon_dark_mode": f"{_BASE}{_PREFIX}/static/icon-dark.svg",
        },
    ]
    listeners: ClassVar[list[Any]] = [RunNotes()]
