"""The MLflow server with logins, as both stacks run it.

It stands behind a door that opens only for what Podium uses (`mlflow_door`), and has a folder of its own,
mode 700, as its home and working directory. MLflow takes the database of its logins from a file alone, so
that file is made there, mode 600: the database URL holds a password.
"""

from __future__ import annotations

import configparser
import io
import os
import sys
from importlib.metadata import distribution
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url

from podium.errors import PodiumError
from podium.operations.private_files import write_private

ADMIN, PROMOTER, READER = "admin", "podium", "reader"
_NEEDED = ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
# Each request brings its password; checking one costs tens of milliseconds of processor time.
_PASSWORD_CACHE_SECONDS = 60
# In the working directory of whoever starts the server. No module can have this name.
SERVER_FOLDER = "mlflow-server"
_APP = "podium"
_REGISTRY = "podium.operations.mlflow_registry_store:FlatRegistryStore"
_ENTRY_POINTS = f"""[mlflow.app]
{_APP} = podium.operations.mlflow_door:create_app
[mlflow.model_registry_store]
postgresql = {_REGISTRY}
sqlite = {_REGISTRY}
"""


def auth_config(database_url: str) -> str:
    """Return the file that MLflow's basic auth reads.

    An account without a role reads everything in the only workspace, and changes nothing.

    Args:
        database_url: Where the logins are kept; may be MLflow's own database.
    """
    config = configparser.ConfigParser(interpolation=None)
    config["mlflow"] = {
        "default_permission": "READ",
        "grant_default_workspace_access": "true",
        # The file is read with interpolation, and a quoted password has percent signs.
        "database_uri": database_url.replace("%", "%%"),
        # MLflow's default; the function itself is private: https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/server/auth
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(_PASSWORD_CACHE_SECONDS),
    }
    text = io.StringIO()
    config.write(text)
    return text.getvalue()


def upgrade_if_older(database_url: str) -> bool:
    """Bring the tables of an earlier MLflow to this one's schema, without which its server refuses to start.

    Returns:
        Whether there was something to do; an empty database is the server's to fill.
    """
    config = Config()
    # Found without importing MLflow, which takes seconds. Private to it, as is what upgrades them:
    # https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/store
    folder = distribution("mlflow").locate_file("mlflow/store/db_migrations")
    config.set_main_option("script_location", str(folder))
    newest = ScriptDirectory.from_config(config).get_current_head()
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        if found in (None, newest):
            return False
        from mlflow.store.db.utils import _upgrade_db

        _upgrade_db(engine)
        return True
    finally:
        engine.dispose()


def become_server(host: str, port: int, bucket: str) -> None:
    """Become the MLflow server; its databases and keys are in the environment.

    Args:
        host: The address to listen on.
        port: The port to listen on.
        bucket: The bucket of the artifacts.

    Raises:
        PodiumError: A variable is missing; names it.
    """
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise PodiumError(f"{', '.join(missing)} not set: without logins anybody could move a champion.")
    url = make_url(os.environ["MLFLOW_BACKEND_STORE_URI"])
    upgrade_if_older(os.environ["MLFLOW_BACKEND_STORE_URI"])
    folder = own_folder(Path.cwd())
    file = folder / "mlflow-auth.ini"
    write_private(file, auth_config(url.render_as_string(hide_password=False)))
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(file)
    os.environ["MLFLOW_AUTH_ADMIN_USERNAME"] = ADMIN
    os.environ["HOME"] = str(folder)
    os.chdir(folder)
    os.execv(sys.executable, server_command(host, port, f"s3://{bucket}"))  # noqa: S606


def own_folder(parent: Path) -> Path:
    """Make the server's home and working directory, and in it what announces its door and its registry.

    MLflow takes both from entry points alone, and finds these by the name of a folder on Python's path, to
    which its working directory belongs. In the images Podium is not installed as a package.

    Args:
        parent: The folder that it is made in.
    """
    folder = parent / SERVER_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    announced = folder / f"podium_door-{distribution('mlflow').version}.dist-info"
    announced.mkdir(exist_ok=True)
    (announced / "entry_points.txt").write_text(_ENTRY_POINTS, encoding="utf-8")
    return folder


def server_command(host: str, port: int, artifacts: str) -> list[str]:
    """Return what becomes the server; it runs in its own folder, where alone it finds its door.

    Args:
        host: The address to listen on.
        port: The port to listen on.
        artifacts: Where it keeps artifacts.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", _APP]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    return [*command, "--artifacts-destination", artifacts]
