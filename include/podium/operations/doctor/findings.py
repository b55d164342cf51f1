"""What a check found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from podium.settings import Settings

TIMEOUT_SECONDS = 5


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        part: What was looked at, such as ``ledger role``.
        state: How it is.
        observed: What was observed, or why it was not looked at.
        remedy: What to do about it; "" if there is nothing to do.
    """

    part: str
    state: State
    observed: str
    remedy: str = ""


_ADDRESSES = {"ledger_url", "ledger_server_url", "ledger_owner_url", "postgres_url"}


def secrets_of(settings: Settings) -> set[str]:
    """Return all that must never be shown; of an address only the password in it, as it is and unquoted."""
    secrets = {
        name: value.get_secret_value()
        for name in type(settings).model_fields
        if isinstance(value := getattr(settings, name), SecretStr)
    }
    found = {value for name, value in secrets.items() if name not in _ADDRESSES}
    for url in (settings.mlflow_tracking_uri, *(secrets.get(name, "") for name in _ADDRESSES)):
        quoted = urlsplit(url).password
        found |= {quoted, unquote(quoted)} if quoted else set()
    return found - {""}


Check = Callable[[Settings], Iterator[Finding]]


def without_secrets(finding: Finding, settings: Settings) -> Finding:
    """Return the finding with whatever an error told of a secret crossed out."""
    observed = finding.observed
    for secret in sorted(secrets_of(settings), key=len, reverse=True):
        observed = observed.replace(secret, "***")
    return replace(finding, observed=" ".join(observed.split()))
