"""Look at what Podium uses of Airflow without its promise; print what was seen as one line of JSON."""

import json
import os
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path

import airflow
from airflow.configuration import conf
from airflow.executors.local_executor import LocalExecutor
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.variable import Variable
from airflow.providers.fab.auth_manager.models import User
from airflow.providers.fab.www.security import permissions

from podium.settings import PROJECT_ROOT
from podium_airflow.roles import BEYOND_VIEWER, LOOKUP
from support.private_apis import AIRFLOW

SCHEDULER = Path(airflow.__path__[0], "jobs", "scheduler_job_runner.py")
SETTINGS = (
    "deploy/*.env",
    "deploy/helm/*.yaml",
    "docker-compose.yaml",
    "include/podium/stack/environment.py",
)


def unknown_settings() -> list[str]:
    """Name our settings of Airflow that neither Airflow nor an installed provider describes."""
    text = "".join(path.read_text() for pattern in SETTINGS for path in PROJECT_ROOT.glob(pattern))
    named = re.findall(r"\bAIRFLOW__([A-Z_]+?)__([A-Z0-9_]+)", text)
    # In the code they are written as `section__key`, in `settings`.
    named += [(section, key) for section, key in re.findall(r'"([a-z_]+?)__([a-z_]+)":', text)]
    described = conf.configuration_description
    return sorted(
        f"[{section.lower()}] {key.lower()}"
        for section, key in set(named)
        if key.lower() not in described.get(section.lower(), {}).get("options", {})
    )


def words_of_a_lazy_module() -> str:
    """Return what Airflow says of a name that has moved; skops makes it say so over a thousand times."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from airflow.utils.weight_rule import WeightRule  # noqa: F401
    return str(caught[0].message)


def unknown_permissions() -> list[str]:
    """Name what our roles may that FAB has no resource for."""
    constants = {name: value for name, value in vars(permissions).items() if name.startswith("RESOURCE_")}
    known = {value for value in constants.values() if isinstance(value, str)}
    known_dags = ("rollback_champion", "settle_champion", "adopt_model")
    for dag_id in (*known_dags, "hold_version", "retire_model", "retention"):
        known |= {permissions.resource_name(dag_id, what) for what in ("DAGs", "DAG Runs")}
    asked = {resource for role in (*BEYOND_VIEWER.values(), LOOKUP) for _, resource in role}
    return sorted(asked - known)


os.environ["AIRFLOW__METRICS__STATSD_ON"] = "True#False"
answer = HITLDetail(
    chosen_options=["Approve"],
    params_input={"reason": "why"},
    responded_at=datetime(2026, 1, 1, tzinfo=UTC),
    responded_by={"id": "1", "name": "amy"},
).as_resume_event_payload()
print(
    json.dumps(
        {
            "differences": {api.path: api.difference() for api in AIRFLOW},
            "unknown_settings": unknown_settings(),
            "unknown_permissions": unknown_permissions(),
            "boolean_up_to_a_hash": conf.getboolean("metrics", "statsd_on"),
            "lazy_module": words_of_a_lazy_module(),
            "answer": {name: str(value) for name, value in answer.items()},
            "executor": sorted(vars(LocalExecutor()).keys() & {"is_mp_using_fork"}),
            "tables": [DagRun.__tablename__, Variable.__tablename__, User.__tablename__],
            "columns_of_users": sorted(User.__table__.columns.keys()),
            "expires_as_timeout": '"error_type": "timeout"' in SCHEDULER.read_text(),
        }
    )
)
