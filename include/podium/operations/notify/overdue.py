"""What no event tells: runs that failed or did not start, servers behind the champion, a damaged ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote

import requests

from podium.errors import Outage
from podium.ledger import history
from podium.ledger.chain import walk
from podium.ledger.history import Present
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import ROLLBACK_DAG, AirflowClient
from podium.reporting import notices
from podium.reporting.notices import Notice
from podium.services import Services
from podium.settings import Settings

# What is older is no news.
NEWS = timedelta(days=1)
_LATE = timedelta(minutes=30)
_BEHIND = timedelta(minutes=5)
_OF_ALL = (ROLLBACK_DAG, "settle_champion", "reconcile")
_TIMEOUT_SECONDS = 5


def failed_runs(airflow: AirflowClient, specs: Iterable[ModelSpec], now: datetime, page: str) -> list[Notice]:
    """Return a notice for each run of Podium's Dags that failed within the last day."""
    models = dict.fromkeys(_OF_ALL, "")
    for spec in specs:
        models |= dict.fromkeys(spec.dag_ids, spec.name)
    return [
        notices.run_failed(
            models[run.dag_id] or str(run.form.get("model", "")),
            f"{run.dag_id}/{run.run_id}",
            run.note or "Why is in the log of the task that failed.",
            f"{page}/dags/{run.dag_id}/runs/{quote(run.run_id, safe='')}" if page else "",
        )
        for run in airflow.failed_runs(now - NEWS)
        if run.dag_id in models
    ]


def missing_runs(
    airflow: AirflowClient, specs: Iterable[ModelSpec], now: datetime, page: str
) -> Iterator[Notice]:
    """Yield a notice for each scheduled lifecycle that should have started half an hour ago, and has not."""
    for spec in specs:
        if spec.schedule is None:
            continue
        due, paused = airflow.next_run(spec.lifecycle_dag_id)
        if due is not None and due < now - _LATE:
            yield notices.run_missing(spec.name, spec.lifecycle_dag_id, due, paused, page)


def servers_behind(
    settings: Settings, presents: Mapping[str, Present], now: datetime, page: str
) -> Iterator[Notice]:
    """Yield a notice for each model of which a server does not answer with the champion, five minutes on."""
    serving = [(url, model) for url in settings.servers.split() for model in _served(settings, url)]
    for model, events in presents.items():
        move = history.champion_move(events)
        if move is None or now - move.at < _BEHIND:
            continue
        behind = [
            f"{url} answers with {version}, {problem or 'and says no reason'}."
            for url, (name, version, problem) in serving
            if name == model and version != f"v{move.version}"
        ]
        if behind:
            yield notices.servers_behind(move, behind, page)


def damage(services: Services, now: datetime, page: str) -> list[Notice]:
    """Return a notice if the record is not whole; reads all of it."""
    found = walk(services.ledger.stored()).differences
    return [notices.ledger_damaged(found, now, page)] if found else []


def _served(settings: Settings, url: str) -> Iterator[tuple[str, str, str]]:
    """Yield model, version and problem of each model that a server serves by the champion alias."""
    token = settings.serving_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    try:
        answer = requests.get(f"{url.rstrip('/')}/models", headers=headers, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        served = answer.json()
    except requests.RequestException as error:
        raise Outage(f"the model server {url} did not say what it serves: {error}") from error
    for model in served:
        if model["follows"] == "champion":
            version = "no version" if model["version"] is None else f"v{model['version']}"
            yield model["model"], version, str(model["problem"] or "")
