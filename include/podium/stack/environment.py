"""The environment of every program, made here and nowhere else."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from podium.names import LOOKUP_ACCOUNT, LOOKUP_PASSWORD, password_variables
from podium.operations.mlflow_server import PROMOTER
from podium.stack.layout import Layout, Paths, repo_root

_S3 = "AWS_"
# A developer's own settings must not leak into the stack: real AWS keys would become the keys of our store.
_DROPPED_PREFIXES = (
    "AIRFLOW_",
    "MLFLOW_",
    "_MLFLOW_",
    _S3,
    "PG",
    "PYTHON",
    "OTEL_",
    "OPENLINEAGE_",
    "WEED_",
    "GUNICORN_",
    "UVICORN_",
    "PODIUM_LEDGER_OWNER_",
    "PODIUM_LEDGER_SERVER_",
    "PODIUM_POSTGRES_URL",
)
_KEPT_PREFIXES = ("AIRFLOW_CONN_", "AIRFLOW_VAR_")
_LOOPBACK = "127.0.0.1,localhost"


def base_env(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that all parts share: the caller's, without foreign settings of our programs."""
    env = {
        name: value
        for name, value in environ.items()
        if name.startswith(_KEPT_PREFIXES) or not name.startswith(_DROPPED_PREFIXES)
    }
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [environ.get(name, ""), _LOOPBACK]))
    env |= _shared("common")
    if sys.platform == "darwin":
        # Forking after a framework was loaded ends the child on macOS; Airflow forks.
        env["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] = "YES"
    return env


def own_s3(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's own S3, for Airflow alone: a task may read rows there."""
    return {name: value for name, value in environ.items() if name.startswith(_S3)}


def client_env(layout: Layout) -> dict[str, str]:
    """Return what a client on this machine needs to reach the stack, a model server too."""
    return {**_addresses(layout), "PODIUM_LEDGER_SERVER_URL": layout.ledger_server_url}


def _addresses(layout: Layout) -> dict[str, str]:
    return {
        "PODIUM_LEDGER_URL": layout.ledger_url,
        "MLFLOW_TRACKING_URI": layout.mlflow_url,
        "MLFLOW_TRACKING_USERNAME": PROMOTER,
        "MLFLOW_TRACKING_PASSWORD": layout.secrets.mlflow_podium,
        "PODIUM_AIRFLOW_URL": layout.airflow_url,
        # By it a task, and the doctor, ask who has an account and may answer.
        LOOKUP_PASSWORD: layout.secrets.airflow_podium,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def s3_env(layout: Layout, paths: Paths) -> dict[str, str]:
    """Return the environment of the object store; without both keys it would be open to everybody."""
    return {
        "HOME": str(paths.s3),
        "AWS_ACCESS_KEY_ID": layout.secrets.s3_key,
        "AWS_SECRET_ACCESS_KEY": layout.secrets.s3_secret,
        "GOMEMLIMIT": "400MiB",
    }


def mlflow_env(layout: Layout) -> dict[str, str]:
    """Return the environment of the MLflow server: only here a client's S3 keys are needed."""
    port = layout.ports.mlflow
    return {
        "MLFLOW_BACKEND_STORE_URI": layout.database_url("mlflow", "mlflow"),
        "MLFLOW_S3_ENDPOINT_URL": layout.s3_url,
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port},localhost:{port}",
        "MLFLOW_AUTH_ADMIN_PASSWORD": layout.secrets.mlflow_admin,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": layout.secrets.mlflow_session,
        "AWS_ACCESS_KEY_ID": layout.secrets.s3_key,
        "AWS_SECRET_ACCESS_KEY": layout.secrets.s3_secret,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONPATH": str(repo_root() / "include"),
        **_shared("mlflow"),
    }


def airflow_env(layout: Layout, paths: Paths, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of every Airflow program; `extra` wins."""
    home = repo_root()
    settings = {
        **_airflow_folders(paths, home),
        **_airflow_api(layout),
        "database__sql_alchemy_conn": layout.database_url("airflow", "airflow"),
        "core__fernet_key": layout.secrets.fernet,
        "api__secret_key": layout.secrets.api_secret,
        "api_auth__jwt_secret": layout.secrets.jwt,
    }
    return {
        "AIRFLOW_HOME": str(paths.airflow_home),
        "PYTHONPATH": os.pathsep.join([str(home / "include"), str(home / "plugins")]),
        "PODIUM_HOME": str(home),
        **_shared("airflow"),
        **_shared("local-executor"),
        **{f"AIRFLOW__{name.upper()}": value for name, value in settings.items()},
        **_addresses(layout),
        **extra,
    }


def accounts_env(layout: Layout) -> dict[str, str]:
    """Return the passwords with which Airflow's accounts are made, for the one command that makes them."""
    passwords = {**layout.secrets.people, LOOKUP_ACCOUNT: layout.secrets.airflow_podium}
    return {name: passwords[login] for login, name in password_variables().items()}


def _airflow_folders(paths: Paths, home: Path) -> dict[str, str]:
    return {
        "core__dags_folder": str(home / "dags"),
        "core__plugins_folder": str(home / "plugins"),
        "logging__base_log_folder": str(paths.logs / "airflow"),
        "logging__dag_processor_child_process_log_directory": str(paths.logs / "airflow" / "dag_processor"),
    }


def _airflow_api(layout: Layout) -> dict[str, str]:
    return {
        "api__host": "127.0.0.1",
        "api__port": str(layout.ports.airflow),
        "api__base_url": layout.airflow_url,
        "core__execution_api_server_url": f"{layout.airflow_url}/execution/",
    }


def _shared(name: str) -> dict[str, str]:
    """Return the settings that docker-compose.yaml has from the same file."""
    values = dotenv_values(repo_root() / "deploy" / f"{name}.env", interpolate=False)
    return {key: value for key, value in values.items() if value is not None}
