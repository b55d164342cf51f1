"""MLflow's errors as Podium's: every call of MLflow's client goes through here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from podium.errors import NotFound, Outage, PodiumError
from podium.registry.labels import STORE_FAILED, http_errors

# A wrong request is INVALID_PARAMETER_VALUE to MLflow. BAD_REQUEST is one that its database did not take, as
# when two wrote the same tag at once:
# https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/db/utils.py
TRY_AGAIN = ("REQUEST_LIMIT_EXCEEDED", "BAD_REQUEST")


@contextmanager
def mlflow_errors(doing: str) -> Iterator[None]:
    """Translate MLflow's errors: 404 to NotFound, no or a failing answer to Outage, others to PodiumError.

    A store behind MLflow that refuses its keys or has lost its bucket is an Outage, whatever MLflow calls it.
    """
    try:
        with http_errors(doing):
            yield
    except MlflowException as error:
        if STORE_FAILED in error.message:
            raise Outage(f"{doing}: the store behind MLflow failed: {error.message}") from error
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(f"{doing}: {error.message}") from error
        if error.get_http_status_code() >= 500 or error.error_code in TRY_AGAIN:
            raise Outage(f"{doing}: MLflow failed or did not answer: {error.message}") from error
        raise PodiumError(f"{doing}: MLflow refused: {error.message}") from error
