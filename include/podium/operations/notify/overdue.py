"""What no event tells: runs that failed or did not start, servers behind the champion, a damaged ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote

from podium.ledger import history
from podium.ledger.chain import walk
from podium.ledger.history import Present
from podium.ledger.servers import Server, following, servers_of
from podium.ledger.store import Ledger
from podium.lifecycle.removal import DAG as REMOVAL_DAG
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.operations.airflow_client import HOLD_DAG, RETENTION_DAG, RETIRE_DAG, ROLLBACK_DAG, AirflowClient
from podium.reporting import notices
from podium.reporting.notices import Notice
from podium.services import Services

# What is older is no news.
NEWS = timedelta(days=1)
_LATE = timedelta(minutes=30)
_BEHIND = timedelta(minutes=5)
_OF_ALL = (
    *(ROLLBACK_DAG, "settle_champion", "reconcile", "watch_champion", "propose_rollback"),
    *(RETENTION_DAG, REMOVAL_DAG, HOLD_DAG, RETIRE_DAG),
)


def failed_runs(airflow: AirflowClient, specs: Iterable[ModelSpec], now: datetime, page: str) -> list[Notice]:
    """Return a notice for each run of Podium's Dags that failed within the last day."""
    models = dict.fromkeys(_OF_ALL, "")
    for spec in specs:
        models |= dict.fromkeys(spec.dag_ids, spec.name)
    return [
        notices.run_failed(
            models[run.dag_id] or str(run.form.get("model", "")),
            f"{run.dag_id}/{run.run_id}",
            run.note or "The reason is in the log of the failed task.",
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
    ledger: Ledger, presents: Mapping[str, Present], now: datetime, page: str
) -> Iterator[Notice]:
    """Yield a notice for each model of which a server does not answer with the champion, five minutes on."""
    servers = servers_of(ledger, presents)
    for model, events in presents.items():
        move = history.champion_move(events)
        if move is None or now - move.at < _BEHIND:
            continue
        behind = following(servers[model], history.champion(events)).behind
        if behind:
            yield notices.servers_behind(move, [_answers_with(server) for server in behind], page)


def damage(services: Services, now: datetime, page: str) -> list[Notice]:
    """Return a notice if the record is not whole; reads all of it."""
    found = walk(services.ledger.stored()).differences
    return [notices.ledger_damaged(found, now, page)] if found else []


def _answers_with(server: Server) -> str:
    versions = " and ".join(
        "no version" if version is None else version_name(version) for version in server.versions
    )
    return f"{server.name} answers with {versions}: {server.problem or 'it tells no problem'}."
