"""Where the parts are: read from the environment when asked, never at import."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from podium.errors import PodiumError

PROJECT_ROOT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Addresses and folders; ``make up`` writes them to ``.podium/client.env`` for the command line.

    Attributes:
        mlflow_public_url: MLflow's address for people's browsers, where it differs from the tasks'.
    """

    model_config = SettingsConfigDict(
        env_file=PROJECT_ROOT / ".podium" / "client.env", extra="ignore", frozen=True
    )

    mlflow_tracking_uri: str = Field(alias="MLFLOW_TRACKING_URI")
    mlflow_username: str | None = Field(default=None, alias="MLFLOW_TRACKING_USERNAME")
    mlflow_password: SecretStr | None = Field(default=None, alias="MLFLOW_TRACKING_PASSWORD")
    ledger_url: SecretStr = Field(alias="PODIUM_LEDGER_URL")
    home: Path = Field(default=PROJECT_ROOT, alias="PODIUM_HOME")
    models_dir: Path = Field(default=PROJECT_ROOT / "include" / "models", alias="PODIUM_MODELS_DIR")
    mlflow_public_url: str | None = Field(default=None, alias="PODIUM_MLFLOW_PUBLIC_URL")
    airflow_url: str | None = Field(default=None, alias="PODIUM_AIRFLOW_URL")
    git_commit: str | None = Field(default=None, alias="PODIUM_GIT_COMMIT")


def load_settings() -> Settings:
    """Read the settings from the environment, else from ``.podium/client.env``.

    Raises:
        PodiumError: An address is missing; the message names the variable.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        names = ", ".join(str(item["loc"][0]) for item in error.errors())
        raise PodiumError(
            f"{names} not set or not valid. `make up` starts the embedded stack and writes them to "
            ".podium/client.env; elsewhere set them in the environment."
        ) from error
    if "MLFLOW_TRACKING_URI" not in os.environ:
        _log_in_to_mlflow(settings)
    return settings


def _log_in_to_mlflow(settings: Settings) -> None:
    """Put the file's login where MLflow's client alone looks, unless the environment names another server."""
    if settings.mlflow_username and settings.mlflow_password:
        os.environ.setdefault("MLFLOW_TRACKING_USERNAME", settings.mlflow_username)
        os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", settings.mlflow_password.get_secret_value())


def models_dir() -> Path:
    """The folder of the model files, for Dag files, which need no other setting."""
    return _ParseTime().models_dir


def project_home() -> Path:
    """The project's top folder, to which paths in model files are relative, for checks that need no part."""
    return _ParseTime().home


def registry_is_ephemeral() -> bool:
    """True if ``PODIUM_EPHEMERAL`` says that this registry is thrown away afterwards, as that of a CI job is.

    Only there a version of a profile is promoted. It comes from the environment alone: a forgotten file
    must not loosen this.

    Raises:
        PodiumError: It says neither true nor false.
    """
    said = os.environ.get("PODIUM_EPHEMERAL", "").strip().lower()
    if said not in ("", "true", "false"):
        raise PodiumError(
            f"PODIUM_EPHEMERAL is '{said}'; allowed: true, for a registry that is thrown away, false"
        )
    return said == "true"


def reconcile_schedule() -> str:
    """When champions are compared with the ledger, as a cron expression in UTC."""
    return _ParseTime().reconcile_schedule


class _ParseTime(BaseSettings):
    home: Path = Field(default=PROJECT_ROOT, alias="PODIUM_HOME")
    models_dir: Path = Field(default=PROJECT_ROOT / "include" / "models", alias="PODIUM_MODELS_DIR")
    reconcile_schedule: str = Field(default="*/5 * * * *", alias="PODIUM_RECONCILE_SCHEDULE")
