"""What a stack needs once, and after each upgrade. Safe to repeat."""

from __future__ import annotations

import logging
from typing import Any

import boto3
from botocore.exceptions import ClientError
from sqlalchemy import make_url

from podium.errors import PodiumError
from podium.ledger.store import migrate
from podium.model_file.loading import load_specs
from podium.names import RETENTION, RETENTION_PASSWORD
from podium.operations import postgres_roles
from podium.operations.mlflow_accounts import MlflowAdmin, register_models
from podium.operations.mlflow_server import PROMOTER, READER
from podium.settings import load_settings, read_settings

log = logging.getLogger(__name__)
_GENERATED = "`make compose-up` generates what is missing in .env"


def make_stores() -> None:
    """Make roles, databases and the bucket in Postgres and the object store; migrate the ledger.

    Raises:
        PodiumError: A variable of the environment is missing; names it.
    """
    settings = read_settings()
    names = [f"{role.upper()}_DB_PASSWORD" for role in postgres_roles.ROLES]
    *passwords, url, bucket = settings.require(*names, "PODIUM_POSTGRES_URL", "PODIUM_BUCKET", why=_GENERATED)
    by_role = dict(zip(postgres_roles.ROLES, passwords, strict=True))
    postgres_roles.create(postgres_roles.login_at(url), by_role)
    log.info("Postgres has the databases %s.", ", ".join(name for _, name in postgres_roles.DATABASES))
    make_bucket(bucket)
    migrate_ledger()
    log.info("The ledger is migrated.")


def make_registry() -> None:
    """Make MLflow's accounts, and a registered model for each model file.

    Raises:
        PodiumError: A variable of the environment is missing, or MLflow refused.
        Outage: MLflow did not answer.
    """
    settings = load_settings()
    promoter, reader, retention, admin = settings.require(
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_READER_PASSWORD",
        RETENTION_PASSWORD,
        "MLFLOW_AUTH_ADMIN_PASSWORD",
        why=_GENERATED,
    )
    url = settings.mlflow_tracking_uri
    passwords = {PROMOTER: promoter, READER: reader, RETENTION: retention}
    MlflowAdmin(url, admin).make_accounts(passwords)
    log.info("MLflow has the accounts %s.", ", ".join(passwords))
    specs, wrong = load_specs(settings.models_dir)
    for error in wrong:
        log.warning("%s", error)  # check_model_files says so in Airflow; the other models go on
    for name in register_models(url, promoter, specs):
        log.info("Registered model %s created.", name)


def make_bucket(name: str) -> None:
    """Make the bucket at ``AWS_ENDPOINT_URL`` if there is none, and let it keep what is overwritten.

    Raises:
        PodiumError: The store refused these keys.
    """
    store = boto3.client("s3")
    try:
        # Asked first: of a bucket that other keys made, a store need not say that it is ours.
        if _is_there(store, name):
            log.info("Bucket %s exists.", name)
        else:
            store.create_bucket(Bucket=name)
            log.info("Bucket %s created.", name)
        store.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    except ClientError as error:
        raise PodiumError(
            f"the object store refused these keys access to its bucket {name}: {error}. Set "
            f"AWS_ACCESS_KEY_ID and its secret to keys that may create and read it"
        ) from error


def _is_there(store: Any, bucket: str) -> bool:
    try:
        store.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True


def migrate_ledger() -> None:
    """Migrate the ledger as the owner in ``PODIUM_LEDGER_OWNER_URL``, for the user of ``PODIUM_LEDGER_URL``.

    Model servers are granted what they need as ``podium_server``.

    Raises:
        PodiumError: One of the two is not set, or names no user.
    """
    settings = load_settings()
    (owner_url,) = settings.require(
        "PODIUM_LEDGER_OWNER_URL", why="the role that owns the ledger migrates it"
    )
    app_role = make_url(settings.ledger_url.get_secret_value()).username
    if not app_role:
        raise PodiumError("PODIUM_LEDGER_URL names no user: the ledger would be open to nobody.")
    migrate(owner_url, app_role=app_role, server_role=postgres_roles.LEDGER_SERVER_ROLE)
