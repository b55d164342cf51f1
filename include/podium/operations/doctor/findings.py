"""What a check found, and where the parts are that it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from podium.settings import PROJECT_ROOT

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
        seen: What was seen, or why it was not looked at.
        remedy: What to do about it; "" if there is nothing to do.
    """

    part: str
    state: State
    seen: str
    remedy: str = ""


class Places(BaseSettings):
    """Where the parts are, of those that are configured at all; else as ``podium.settings.Settings``."""

    model_config = SettingsConfigDict(
        env_file=PROJECT_ROOT / ".podium" / "client.env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    ledger_url: SecretStr | None = Field(default=None, alias="PODIUM_LEDGER_URL")
    mlflow_uri: SecretStr | None = Field(default=None, alias="MLFLOW_TRACKING_URI")
    mlflow_username: str | None = Field(default=None, alias="MLFLOW_TRACKING_USERNAME")
    mlflow_password: SecretStr | None = Field(default=None, alias="MLFLOW_TRACKING_PASSWORD")
    airflow_url: str | None = Field(default=None, alias="PODIUM_AIRFLOW_URL")
    airflow_password: SecretStr | None = Field(default=None, alias="PODIUM_AIRFLOW_PASSWORD")
    lookup_password: SecretStr | None = Field(default=None, alias="PODIUM_LOOKUP_PASSWORD")
    store_url: str | None = Field(default=None, alias="AWS_ENDPOINT_URL")
    store_key: str | None = Field(default=None, alias="AWS_ACCESS_KEY_ID")
    store_secret: SecretStr | None = Field(default=None, alias="AWS_SECRET_ACCESS_KEY")
    store_region: str = Field(default="us-east-1", alias="AWS_DEFAULT_REGION")
    bucket: str | None = Field(default=None, alias="PODIUM_BUCKET")
    home: Path = Field(default=PROJECT_ROOT, alias="PODIUM_HOME")
    models_dir: Path = Field(default=PROJECT_ROOT / "include" / "models", alias="PODIUM_MODELS_DIR")

    def secrets(self) -> set[str]:
        """Return all that must never be shown."""
        values = [self.mlflow_password, self.airflow_password, self.lookup_password, self.store_secret]
        found = {value.get_secret_value() for value in values if value is not None}
        for url in (self.ledger_url, self.mlflow_uri):
            quoted = None if url is None else urlsplit(url.get_secret_value()).password
            found |= {quoted, unquote(quoted)} if quoted else set()
        return found - {""}


Check = Callable[[Places], Iterator[Finding]]


def without_secrets(finding: Finding, places: Places) -> Finding:
    """Return the finding with whatever an error told of a secret crossed out."""
    seen = finding.seen
    for secret in sorted(places.secrets(), key=len, reverse=True):
        seen = seen.replace(secret, "***")
    return replace(finding, seen=" ".join(seen.split()))
