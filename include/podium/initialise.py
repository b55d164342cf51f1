"""``python -m podium.initialise``: what a new stack needs once: the ledger's schema and the bucket."""

from __future__ import annotations

import logging
import os

import boto3
from botocore.exceptions import ClientError
from sqlalchemy import make_url

from podium.errors import PodiumError
from podium.ledger import migrate
from podium.settings import load_settings

log = logging.getLogger(__name__)


def main() -> None:
    """Migrate the ledger; make the bucket of ``PODIUM_BUCKET`` at ``AWS_ENDPOINT_URL`` if there is none."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    migrate_ledger()
    bucket = os.environ["PODIUM_BUCKET"]
    try:
        boto3.client("s3").create_bucket(Bucket=bucket)
        log.info("Bucket %s made.", bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
        log.info("Bucket %s is there.", bucket)


def migrate_ledger() -> None:
    """Migrate the ledger as the owner in ``PODIUM_LEDGER_OWNER_URL``, for the user of ``PODIUM_LEDGER_URL``.

    Raises:
        PodiumError: One of the two is not set, or names no user.
    """
    owner_url = os.environ.get("PODIUM_LEDGER_OWNER_URL")
    if not owner_url:
        raise PodiumError(
            "PODIUM_LEDGER_OWNER_URL is not set: the ledger is migrated by the role that owns it."
        )
    app_role = make_url(load_settings().ledger_url.get_secret_value()).username
    if not app_role:
        raise PodiumError("PODIUM_LEDGER_URL names no user: the ledger would be open to nobody.")
    migrate(owner_url, app_role=app_role)


if __name__ == "__main__":
    main()
