"""Each secret of a running stack gets a new value: it is taken, the old one refused, and nothing is lost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import boto3
import psycopg2
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.fernet import Fernet

from podium.names import RETENTION
from podium.operations.airflow_client import AirflowClient
from podium.operations.initialise import make_bucket
from podium.operations.mlflow_server import ADMIN, PROMOTER, READER
from podium.stack import control, rotation
from podium.stack.layout import Layout, Paths, Secrets, load_layout
from podium.stack.postgres import SUPERUSER
from support.command_line import stack_command
from support.database import as_superuser
from support.patience import PATIENCE_SECONDS

STATE = Path(__file__).parents[2] / ".podium" / "test-rotation"
DATABASES = {
    "db_airflow": "airflow",
    "db_mlflow": "mlflow",
    "db_podium": "ledger",
    "db_podium_server": "ledger",
    "db_ledger_owner": "ledger",
}


def opens(layout: Layout, secrets: Secrets, name: str) -> bool:
    """Whether a secret of these is taken by the part that it is for."""
    value = getattr(secrets, name)
    if name in DATABASES or name == "postgres_superuser":
        user = SUPERUSER if name == "postgres_superuser" else name.removeprefix("db_")
        try:
            with closing(
                psycopg2.connect(
                    host="127.0.0.1",
                    port=layout.ports.postgres,
                    user=user,
                    password=value,
                    dbname=DATABASES.get(name, "postgres"),
                )
            ):
                return True
        except psycopg2.OperationalError:
            return False
    if name.startswith("mlflow_"):
        logins = {"mlflow_admin": ADMIN, "mlflow_podium": PROMOTER, "mlflow_reader": READER}
        login = {**logins, "mlflow_retention": RETENTION}[name]
        path = "api/2.0/mlflow/experiments/get?experiment_id=0"
        return requests.get(f"{layout.mlflow_url}/{path}", auth=(login, value), timeout=PATIENCE_SECONDS).ok
    if name == "airflow_podium":
        body = {"username": "podium", "password": value}
        return requests.post(f"{layout.airflow_url}/auth/token", json=body, timeout=PATIENCE_SECONDS).ok
    client = boto3.client(
        "s3",
        endpoint_url=layout.s3_url,
        aws_access_key_id=secrets.s3_key,
        aws_secret_access_key=secrets.s3_secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    try:
        client.list_objects_v2(Bucket="mlflow")
    except ClientError:
        return False
    return True


CHECKED = ["s3_key", "airflow_podium", "mlflow_admin", "mlflow_podium", "mlflow_reader", "mlflow_retention"]
CHECKED += ["postgres_superuser", *DATABASES]
# Known by what they protect: the key of connections and variables, and the sessions that end.
OTHERS = {"fernet", "s3_secret", "api_secret", "jwt", "mlflow_session"}


def test_each_secret_is_rotated_on_a_running_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {*CHECKED, *OTHERS} == rotation.ROTATED
    paths = Paths(STATE)
    control.clean(paths)
    try:
        assert stack_command(STATE, "up").returncode == 0
        before = load_layout(paths)
        assert before is not None
        assert [name for name in CHECKED if not opens(before, before.secrets, name)] == []
        admin = AirflowClient(before.airflow_url, "admin", before.secrets.people["admin"])
        admin._call("POST", "/api/v2/variables", {"key": "kept", "value": "a secret of somebody"})
        session = {"Authorization": str(admin._session.headers["Authorization"])}

        done = stack_command(STATE, "rotate")
        assert done.returncode == 0, done.stdout + done.stderr

        after = load_layout(paths)
        assert after is not None
        assert not {*before.secrets.values()} & {*after.secrets.values()} - {*before.secrets.people.values()}
        assert [name for name in CHECKED if not opens(after, after.secrets, name)] == []
        assert [name for name in CHECKED if opens(after, before.secrets, name)] == []
        told = requests.get(f"{after.airflow_url}/api/v2/dags", headers=session, timeout=PATIENCE_SECONDS)
        # So Airflow answers to a session that it does not know.
        assert (told.status_code, "Invalid JWT token" in told.text) == (403, True)
        ((kept,),) = as_superuser(after, "SELECT val FROM variable WHERE key = 'kept'", "airflow")
        assert Fernet(after.secrets.fernet).decrypt(kept.encode()) == b"a secret of somebody"
        assert stack_command(STATE, "rotate", "nonsense").returncode == 1
        # The bucket was made by an account that is gone: the containers' `initialise` finds it all the same.
        monkeypatch.setenv("AWS_ENDPOINT_URL", after.s3_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", after.secrets.s3_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", after.secrets.s3_secret)
        make_bucket("mlflow")
    finally:
        control.clean(paths)
