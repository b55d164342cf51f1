"""``python -m podium.initialise``: what a new stack needs once: the ledger's schema and the bucket."""

from __future__ import annotations

import logging
import os

import boto3
from botocore.exceptions import ClientError

from podium.ledger import migrate
from podium.settings import load_settings

log = logging.getLogger(__name__)


def main() -> None:
    """Migrate the ledger; make the bucket of ``PODIUM_BUCKET`` at ``AWS_ENDPOINT_URL`` if there is none."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    migrate(load_settings().ledger_url.get_secret_value())
    bucket = os.environ["PODIUM_BUCKET"]
    try:
        boto3.client("s3").create_bucket(Bucket=bucket)
        log.info("Bucket %s made.", bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
        log.info("Bucket %s is there.", bucket)


if __name__ == "__main__":
    main()
