"""The host name that a worker of the tests gives to Airflow: workers on one machine are told apart by it."""

import os


def worker_name() -> str:
    return os.environ["WORKER_NAME"]
