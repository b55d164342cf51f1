"""Questions over HTTP that are not waited for long."""

from __future__ import annotations

import os
from typing import Any

import requests
from requests.auth import AuthBase

from podium.errors import Outage, PodiumError
from podium.operations.doctor.findings import TIMEOUT_SECONDS


class NoLogin(AuthBase):
    """Send no login, not even one of ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave the request as it is."""
        return request


def ask(
    method: str, url: str, login: AuthBase | tuple[str, str] | None = None, **more: Any
) -> requests.Response:
    """Ask once, and return whatever is answered.

    Raises:
        Outage: Nothing was answered within ``TIMEOUT_SECONDS``.
        PodiumError: The address cannot be used.
    """
    more.setdefault("verify", os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True)
    try:
        return requests.request(
            method, url, auth=login or NoLogin(), timeout=TIMEOUT_SECONDS, allow_redirects=False, **more
        )
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise PodiumError(f"the address cannot be used: {error}") from error
    except requests.Timeout as error:
        raise Outage(f"no answer within {TIMEOUT_SECONDS} s") from error
    except requests.RequestException as error:
        raise Outage(f"no answer: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """Return the innermost reason: the outer ones repeat the address and how often it was tried."""
    reason = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    return str(reason).rpartition(": ")[2]
