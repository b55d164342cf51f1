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
# MLflow's addresses for the parts of an upload end within an hour.
_UPLOAD_DAYS = 7
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

    A bucket without any lifecycle rule gets one: parts of uploads that never ended go. Others are left alone.

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
        _end_uploads(store, name)
    except ClientError as error:
        raise PodiumError(
            f"the object store refused these keys access to its bucket {name}: {error}. Set "
            "AWS_ACCESS_KEY_ID and its secret to keys that may create and read it"
        ) from error


def _end_uploads(store: Any, bucket: str) -> None:
    """Let the store remove the parts of uploads that never ended; MLflow can list no such upload."""
    rule = {
        "ID": "podium-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UPLOAD_DAYS},
    }
    try:
        if _has_rules(store, bucket):
            log.info("Bucket %s has lifecycle rules of its own; they stay as they are.", bucket)
            return
        store.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    except ClientError as error:
        log.warning("Bucket %s got no rule that ends uploads: %s. See docs/retention.md.", bucket, error)
        return
    log.info("Bucket %s removes parts of uploads that did not end in %d days.", bucket, _UPLOAD_DAYS)


def _has_rules(store: Any, bucket: str) -> bool:
    try:
        store.get_bucket_lifecycle_configuration(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
            return False
        raise
    return True


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
