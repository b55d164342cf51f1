"""What a Celery worker imports before it forks its tasks; `deploy/celery-executor.env` names it to Celery."""

from podium_airflow.executor import load_libraries

load_libraries()
