"""What a Celery worker imports before it forks its tasks; `deploy/celery-executor.env` names it to Celery."""

from __future__ import annotations

from pathlib import Path

from airflow.configuration import AIRFLOW_HOME
from celery.signals import heartbeat_sent  # noqa: TID253 - only Celery imports this file

from podium_airflow.executor import load_libraries

# Written every two seconds while the worker has its broker: a health check looks how old it is.
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/configuration.py
HEARTBEAT_FILE = Path(AIRFLOW_HOME) / "worker-heartbeat"


def keep_heartbeat(**_: object) -> None:
    """Note that the worker just told its broker that it is there."""
    HEARTBEAT_FILE.touch()


heartbeat_sent.connect(keep_heartbeat)
load_libraries()
