"""Aliases and tags of registered models, read over HTTP at once: importing MLflow's client takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import requests

from podium.errors import NotFound, Outage, PodiumError

TIMEOUT_SECONDS = 30
MODELS_A_PAGE = 1000
# MLflow's words where the store refuses or has no bucket, under the status of a login or of a name:
# https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/artifact/s3_artifact_repo.py
# Of a folder that is not there S3 lists nothing, without an error.
STORE_FAILED = "Failed to list artifacts in "
_SEARCH = "api/2.0/mlflow/registered-models/search"


class Labels(NamedTuple):
    """What a registered model bears, beside its versions.

    Attributes:
        aliases: The version of each alias.
        tags: Its own tags, not those of its versions.
        newest: The number of its newest version, and the training run of it; None: it has no version.
    """

    aliases: dict[str, int]
    tags: Mapping[str, str]
    newest: tuple[int, str] | None = None


def login_of(tracking_uri: str) -> tuple[str, str] | None:
    """Return the login in the environment for an MLflow over HTTP; None where only its client gets in."""
    user, password = (
        os.environ.get(name) for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    )
    over_http = tracking_uri.startswith(("http://", "https://"))
    return (user, password) if over_http and user and password else None


def all_labels(
    tracking_uri: str, login: tuple[str, str], timeout: float = TIMEOUT_SECONDS
) -> dict[str, Labels]:
    """Return the aliases and tags of all registered models, also of those that are none of ours.

    Args:
        tracking_uri: MLflow's address.
        login: Name and password.
        timeout: Seconds to wait for each answer.

    Raises:
        Outage: MLflow did not answer.
        PodiumError: MLflow refused the login.
    """
    return {
        model["name"]: Labels(
            {one["alias"]: int(one["version"]) for one in model.get("aliases", ())},
            {one["key"]: one.get("value", "") for one in model.get("tags", ())},
            max(
                ((int(one["version"]), one.get("run_id", "")) for one in model.get("latest_versions", ())),
                default=None,
            ),
        )
        for model in _registered_models(tracking_uri.rstrip("/"), login, timeout)
    }


def _registered_models(base: str, login: tuple[str, str], timeout: float) -> Iterator[dict[str, Any]]:
    asked: dict[str, Any] = {"max_results": MODELS_A_PAGE}
    verify = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    with http_errors("listing the registered models"), requests.Session() as session:
        session.auth = login
        while True:
            page = session.get(f"{base}/{_SEARCH}", params=asked, timeout=timeout, verify=verify)
            page.raise_for_status()
            content = page.json()
            yield from content.get("registered_models", ())
            if not content.get("next_page_token"):
                return
            asked["page_token"] = content["next_page_token"]


@contextmanager
def http_errors(doing: str) -> Iterator[None]:
    """Translate errors of HTTP: 404 to NotFound, no or a failing answer to Outage, others to PodiumError.

    A store behind MLflow that refuses its keys or has lost its bucket is an Outage, whatever MLflow calls it.
    """
    try:
        yield
    except requests.HTTPError as error:
        if STORE_FAILED in error.response.text:
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
