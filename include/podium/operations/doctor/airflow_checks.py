"""Airflow: does it answer, and do its parts have a heartbeat?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podium.errors import PodiumError
from podium.operations.addresses import without_login
from podium.operations.doctor.findings import Finding, State
from podium.operations.doctor.http import ask
from podium.operations.doctor.machine_checks import locked_versions
from podium.settings import Settings

AIRFLOW = "airflow"
_PARTS = {
    "metadatabase": "start Airflow's Postgres, and see the API server's log",
    "scheduler": "start `airflow scheduler`: nothing runs without it",
    "dag_processor": "start `airflow dag-processor`: changed Dags are not seen without it",
    "triggerer": "start `airflow triggerer`: deferred tasks do not continue without it",
}


def check_airflow(settings: Settings) -> Iterator[Finding]:
    """Yield what is found; a server that does not answer ends the check."""
    if settings.airflow_url is None:
        yield Finding(AIRFLOW, State.NOT_CHECKED, "PODIUM_AIRFLOW_URL is not set")
        return
    url = settings.airflow_url.rstrip("/")
    place = without_login(url)
    try:
        version = _json(f"{url}/api/v2/version").get("version")
        health = _json(f"{url}/api/v2/monitor/health")
    except PodiumError as error:
        remedy = "start `airflow api-server`, or set PODIUM_AIRFLOW_URL to where it is"
        yield Finding(AIRFLOW, State.PROBLEM, f"{place}: {error}", remedy)
        return
    yield _version(str(version), place, locked_versions(settings.home) or {})
    for part, remedy in _PARTS.items():
        yield _health(part, health.get(part) or {}, remedy)


def _version(version: str, place: str, lock: Mapping[str, str]) -> Finding:
    locked = lock.get("apache-airflow")
    if locked not in (None, version):
        observed = f"{version} at {place}, but requirements.txt names {locked}"
        return Finding(AIRFLOW, State.WARNING, observed, f"install apache-airflow=={locked} there")
    return Finding(AIRFLOW, State.OK, f"{version} at {place}")


def _health(part: str, said: Mapping[str, Any], remedy: str) -> Finding:
    name = f"{AIRFLOW} {part.replace('_', '-')}"
    beat = said.get(f"latest_{part}_heartbeat")
    since = f", last heartbeat {beat}" if beat else ""
    if said.get("status") == "healthy":
        return Finding(name, State.OK, f"healthy{since}")
    return Finding(name, State.PROBLEM, f"{said.get('status') or 'never had a heartbeat'}{since}", remedy)


def _json(url: str) -> dict[str, Any]:
    """Return the answer of a public page of Airflow.

    Raises:
        Outage: It did not answer.
        PodiumError: It answered something else; another program may listen there.
    """
    answer = ask("GET", url)
    try:
        content = answer.json() if answer.ok else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise PodiumError(f"it answered {answer.status_code} {answer.text[:200]}: is that Airflow 3?")
    return content
