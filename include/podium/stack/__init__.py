"""The embedded stack without Docker (Postgres, S3, MLflow, Airflow), for `make up`, `make demo` and tests."""

from podium.stack.errors import PartFailedError, StackBusyError, StackError
from podium.stack.running_stack import Stack, running_stack

__all__ = ["PartFailedError", "Stack", "StackBusyError", "StackError", "running_stack"]
