"""What the environment says: where the services are and who logs in; read when asked, never at import."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from podium.errors import PodiumError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
_STARTS_A_STACK = (
    "`make up` starts the embedded stack and writes them to .podium/client.env; elsewhere set them in the "
    "environment."
)


class Settings(BaseSettings):
    """Every variable that Podium reads; what is not set, or empty, is None or "".

    ``make up`` writes those of the command line to ``.podium/client.env``.

    Attributes:
        mlflow_public_url: MLflow's address for people's browsers, where it differs from the tasks'.
        postgres_url: The superuser's, for backups and to make roles and databases.
        ledger_owner_url: The ledger's owner's, for migrations.
        ledger_server_url: The ledger's, for model servers: its role appends no event.
        lookup_password: That of Podium's own account in Airflow, which asks for people's roles.
        airflow_public_url: Airflow's address for people's browsers, where it differs from the tasks'.
        notify: Which channels are told of what where the model file says nothing, as JSON.
        notify_channels: The address of each channel, as JSON; they hold passwords.
        notify_quiet: When only what is urgent is told, such as ``22:00-07:00 Europe/Berlin``.
    """

    model_config = SettingsConfigDict(
        env_file=PROJECT_ROOT / ".podium" / "client.env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(default=PROJECT_ROOT, alias="PODIUM_HOME")
    models_dir: Path = Field(default=PROJECT_ROOT / "include" / "models", alias="PODIUM_MODELS_DIR")
    reconcile_schedule: str = Field(default="*/5 * * * *", alias="PODIUM_RECONCILE_SCHEDULE")
    git_commit: str | None = Field(default=None, alias="PODIUM_GIT_COMMIT")

    mlflow_tracking_uri: str = Field(default="", alias="MLFLOW_TRACKING_URI", repr=False)
    mlflow_username: str | None = Field(default=None, alias="MLFLOW_TRACKING_USERNAME")
    mlflow_password: SecretStr | None = Field(default=None, alias="MLFLOW_TRACKING_PASSWORD")
    mlflow_admin_password: SecretStr | None = Field(default=None, alias="MLFLOW_AUTH_ADMIN_PASSWORD")
    mlflow_reader_password: SecretStr | None = Field(default=None, alias="MLFLOW_READER_PASSWORD")
    mlflow_retention_password: SecretStr | None = Field(default=None, alias="MLFLOW_RETENTION_PASSWORD")
    mlflow_public_url: str | None = Field(default=None, alias="PODIUM_MLFLOW_PUBLIC_URL")

    ledger_url: SecretStr = Field(default=SecretStr(""), alias="PODIUM_LEDGER_URL")
    ledger_server_url: SecretStr | None = Field(default=None, alias="PODIUM_LEDGER_SERVER_URL")
    ledger_owner_url: SecretStr | None = Field(default=None, alias="PODIUM_LEDGER_OWNER_URL")
    postgres_url: SecretStr | None = Field(default=None, alias="PODIUM_POSTGRES_URL")
    airflow_db_password: SecretStr | None = Field(default=None, alias="AIRFLOW_DB_PASSWORD")
    mlflow_db_password: SecretStr | None = Field(default=None, alias="MLFLOW_DB_PASSWORD")
    podium_db_password: SecretStr | None = Field(default=None, alias="PODIUM_DB_PASSWORD")
    podium_server_db_password: SecretStr | None = Field(default=None, alias="PODIUM_SERVER_DB_PASSWORD")
    ledger_owner_db_password: SecretStr | None = Field(default=None, alias="LEDGER_OWNER_DB_PASSWORD")

    airflow_url: str | None = Field(default=None, alias="PODIUM_AIRFLOW_URL")
    airflow_password: SecretStr | None = Field(default=None, alias="PODIUM_AIRFLOW_PASSWORD")
    lookup_password: SecretStr | None = Field(default=None, alias="PODIUM_LOOKUP_PASSWORD")
    airflow_public_url: str | None = Field(default=None, alias="PODIUM_AIRFLOW_PUBLIC_URL")

    notify: str = Field(default="", alias="PODIUM_NOTIFY")
    notify_channels: SecretStr = Field(default=SecretStr(""), alias="PODIUM_NOTIFY_CHANNELS")
    notify_quiet: str = Field(default="", alias="PODIUM_NOTIFY_QUIET")

    store_url: str | None = Field(default=None, alias="AWS_ENDPOINT_URL")
    store_key: str | None = Field(default=None, alias="AWS_ACCESS_KEY_ID")
    store_secret: SecretStr | None = Field(default=None, alias="AWS_SECRET_ACCESS_KEY")
    store_region: str = Field(default="us-east-1", alias="AWS_DEFAULT_REGION")
    bucket: str | None = Field(default=None, alias="PODIUM_BUCKET")

    @property
    def mlflow_pages(self) -> str:
        """MLflow's address for people's browsers."""
        return self.mlflow_public_url or self.mlflow_tracking_uri

    def for_server(self) -> Settings:
        """Return the settings of a model server: the ledger at ``PODIUM_LEDGER_SERVER_URL``, if set.

        The environment comes before the file, whichever of the two addresses it holds: the file is of the
        embedded stack, and the environment may name another ledger.
        """
        is_of_file = not os.environ.get("PODIUM_LEDGER_SERVER_URL")
        if self.ledger_server_url is None or (is_of_file and os.environ.get("PODIUM_LEDGER_URL")):
            return self
        return self.model_copy(update={"ledger_url": self.ledger_server_url})

    def require(self, *variables: str, why: str) -> tuple[str, ...]:
        """Return the values of variables, secrets too.

        Args:
            *variables: Their names in the environment.
            why: What they are needed for, or where they come from.

        Raises:
            PodiumError: Some are not set; names all of them.
        """
        names = {field.alias: name for name, field in type(self).model_fields.items()}
        values = [getattr(self, names[variable]) for variable in variables]
        told = [value.get_secret_value() if isinstance(value, SecretStr) else value for value in values]
        if missing := [variable for variable, value in zip(variables, told, strict=True) if not value]:
            raise PodiumError(f"{', '.join(missing)} not set: {why}")
        return tuple(map(str, told))


def read_settings() -> Settings:
    """Read the settings from the environment, else from ``.podium/client.env``.

    Raises:
        PodiumError: A value is not of its kind; names the variable.
    """
    told = tuple((name, value) for name, value in os.environ.items() if name.upper() in _VARIABLES)
    return _read(told, _content(Settings.model_config.get("env_file")))


def _content(file: Any) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""


_VARIABLES = frozenset(field.alias for field in Settings.model_fields.values())


# Each key of a model file that is a path asks where the project is, and reading the settings takes 2 ms.
@lru_cache(maxsize=1)
def _read(_told: tuple[tuple[str, str], ...], _file: bytes) -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        wrong = ", ".join(f"{item['loc'][0]} ({item['msg']})" for item in error.errors())
        raise PodiumError(f"not valid in the environment: {wrong}") from error


def load_settings() -> Settings:
    """Read the settings of a program that talks to MLflow and the ledger, and log in to MLflow.

    Raises:
        PodiumError: An address is missing; the message names the variable.
    """
    settings = read_settings()
    settings.require("MLFLOW_TRACKING_URI", "PODIUM_LEDGER_URL", why=_STARTS_A_STACK)
    return _logged_in(settings)


def load_server_settings() -> Settings:
    """Read the settings of a model server, and log in to MLflow; see ``Settings.for_server``.

    Raises:
        PodiumError: An address is missing; the message names the variable.
    """
    settings = read_settings().for_server()
    ledger = "PODIUM_LEDGER_URL" if settings.ledger_url.get_secret_value() else "PODIUM_LEDGER_SERVER_URL"
    settings.require("MLFLOW_TRACKING_URI", ledger, why=_STARTS_A_STACK)
    return _logged_in(settings)


def _logged_in(settings: Settings) -> Settings:
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
    return read_settings().models_dir


def project_home() -> Path:
    """The project's top folder, to which paths in model files are relative."""
    return read_settings().home


def reconcile_schedule() -> str:
    """When champions are compared with the ledger, as a cron expression in UTC."""
    return read_settings().reconcile_schedule


def registry_is_ephemeral() -> bool:
    """True if ``PODIUM_EPHEMERAL`` says that this registry is disposable, as that of a CI job is.

    Only there a version of a profile is promoted. It comes from the environment alone: a forgotten file
    must not loosen this.

    Raises:
        PodiumError: It says neither true nor false.
    """
    said = os.environ.get("PODIUM_EPHEMERAL", "").strip().lower()
    if said not in ("", "true", "false"):
        raise PodiumError(f"PODIUM_EPHEMERAL is '{said}'; allowed: true, for a disposable registry, false")
    return said == "true"


def notifications_are_on() -> bool:
    """True if somebody configured a channel, for Dag files."""
    return bool(read_settings().notify_channels.get_secret_value())
