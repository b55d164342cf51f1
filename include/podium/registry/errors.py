"""MLflow's errors as Podium's: every call of MLflow goes through here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow.exceptions import MlflowException

from podium.errors import NotFound, Outage, PodiumError

# MLflow's words where the store refuses or has no bucket, under the status of a login or of a name:
# https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/artifact/s3_artifact_repo.py
# Of a folder that is not there S3 lists nothing, without an error.
_STORE_FAILED = "Failed to list artifacts in "


@contextmanager
def mlflow_errors(doing: str) -> Iterator[None]:
    """Translate MLflow's errors: 404 to NotFound, no or a failing answer to Outage, others to PodiumError.

    A store behind MLflow that refuses its keys or has lost its bucket is an Outage, whatever MLflow calls it.
    """
    try:
        yield
    except requests.HTTPError as error:
        if _STORE_FAILED in error.response.text:
            raise Outage(f"{doing}: the store behind MLflow failed: {error.response.text}") from error
        if error.response.status_code == requests.codes.not_found:
            raise NotFound(f"{doing}: {error}") from error
        if (
            error.response.status_code < 500
            and error.response.status_code != requests.codes.too_many_requests
        ):
            raise PodiumError(f"{doing}: MLflow refused: {error}") from error
        raise Outage(f"{doing}: MLflow failed: {error}") from error
    except requests.RequestException as error:
        raise Outage(f"{doing}: MLflow did not answer: {error}") from error
    except MlflowException as error:
        if _STORE_FAILED in error.message:
            raise Outage(f"{doing}: the store behind MLflow failed: {error.message}") from error
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(f"{doing}: {error.message}") from error
        if error.get_http_status_code() >= 500 or error.error_code == "REQUEST_LIMIT_EXCEEDED":
            raise Outage(f"{doing}: MLflow failed or did not answer: {error.message}") from error
        raise PodiumError(f"{doing}: MLflow refused: {error.message}") from error
