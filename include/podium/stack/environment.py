"""The environment of every program, made here and nowhere else."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from podium.stack.layout import PEOPLE, Layout, Paths, repo_root

# A developer's own settings must not leak into the stack: real AWS keys would become the keys of our store.
_DROPPED_PREFIXES = (
    "AIRFLOW_",
    "MLFLOW_",
    "_MLFLOW_",
    "AWS_",
    "PG",
    "PYTHON",
    "OTEL_",
    "WEED_",
    "GUNICORN_",
    "UVICORN_",
    "PODIUM_LEDGER_OWNER_",
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
    env |= {
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "DO_NOT_TRACK": "1",
        "SCARF_ANALYTICS": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if sys.platform == "darwin":
        # Forking after a framework was loaded ends the child on macOS; Airflow forks.
        env["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] = "YES"
    return env


def client_env(layout: Layout) -> dict[str, str]:
    """Return what a client on this machine needs to reach the stack."""
    return {
        "PODIUM_LEDGER_URL": layout.ledger_url,
        "MLFLOW_TRACKING_URI": layout.mlflow_url,
        "PODIUM_AIRFLOW_URL": layout.airflow_url,
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
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "AWS_ACCESS_KEY_ID": layout.secrets.s3_key,
        "AWS_SECRET_ACCESS_KEY": layout.secrets.s3_secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def airflow_env(layout: Layout, paths: Paths, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of every Airflow program; `extra` wins."""
    home = repo_root()
    settings = {
        **_airflow_core(paths, home),
        **_airflow_api(layout),
        **_airflow_pace(),
        "database__sql_alchemy_conn": layout.database_url("airflow", "airflow"),
        "core__fernet_key": layout.secrets.fernet,
        "api__secret_key": layout.secrets.api_secret,
        "api_auth__jwt_secret": layout.secrets.jwt,
    }
    return {
        "AIRFLOW_HOME": str(paths.airflow_home),
        "PYTHONPATH": os.pathsep.join([str(home / "include"), str(home / "plugins")]),
        "PODIUM_HOME": str(home),
        # A task gives its slot back soon and is retried; MLflow's default waits four minutes in it.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        # Its progress bars would be lines of level error in a task log.
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # Airflow 3.3.2's own parsing warns about its use of pathspec, in each task log.
        "PYTHONWARNINGS": "ignore:GitWildMatchPattern:DeprecationWarning",
        **{f"AIRFLOW__{name.upper()}": value for name, value in settings.items()},
        **client_env(layout),
        **extra,
    }


def _airflow_core(paths: Paths, home: Path) -> dict[str, str]:
    return {
        "core__dags_folder": str(home / "dags"),
        "core__plugins_folder": str(home / "plugins"),
        "core__load_examples": "False",
        # LocalExecutor, but tasks do not have to import the large libraries: each starts seconds sooner.
        "core__executor": "podium_airflow.executor.PreloadingLocalExecutor",
        # Nothing trains by itself on a fresh stack: people switch a Dag on, or trigger it.
        "core__dags_are_paused_at_creation": "True",
        "core__hostname_callable": "socket.gethostname",
        "core__simple_auth_manager_users": ",".join(f"{name}:{role}" for name, role in PEOPLE),
        "core__simple_auth_manager_all_admins": "False",
        "core__simple_auth_manager_passwords_file": str(paths.passwords),
        "logging__base_log_folder": str(paths.logs / "airflow"),
        "logging__dag_processor_child_process_log_directory": str(paths.logs / "airflow" / "dag_processor"),
        "logging__file_task_handler_new_folder_permissions": "0o700",
        "logging__file_task_handler_new_file_permissions": "0o600",
        "logging__colored_console_log": "False",
        "usage_data_collection__enabled": "False",
    }


def _airflow_api(layout: Layout) -> dict[str, str]:
    return {
        "api__host": "127.0.0.1",
        "api__port": str(layout.ports.airflow),
        "api__base_url": layout.airflow_url,
        "api__workers": "1",
        "core__execution_api_server_url": f"{layout.airflow_url}/execution/",
        "workers__execution_api_timeout": "30",
    }


def _airflow_pace() -> dict[str, str]:
    """Two cores, one person in front of it: few processes, and no long naps between them."""
    return {
        "core__parallelism": "4",
        "core__max_active_tasks_per_dag": "4",
        "core__min_serialized_dag_update_interval": "5",
        "scheduler__scheduler_idle_sleep_time": "0.5",
        # A new or changed Dag file is seen within these seconds; an unchanged one is parsed every 30.
        "dag_processor__refresh_interval": "5",
        "dag_processor__parsing_processes": "1",
    }
