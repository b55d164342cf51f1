"""The store, asked directly where its keys are in the environment: does it take them alone?"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from secrets import token_hex
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from podium.operations.addresses import without_login
from podium.operations.doctor.findings import TIMEOUT_SECONDS, Finding, State
from podium.settings import Settings

STORE, KEYS, BUCKET, UPLOADS = "store", "store keys", "store bucket", "store uploads"
_NEEDED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PODIUM_BUCKET")
_INITIALISE = "`podium initialise stores` makes it, with versioning"
_REFUSED = (400, 401, 403)


def check_store(settings: Settings) -> Iterator[Finding]:
    """Yield what is found; a store that does not answer ends the check."""
    values = (settings.store_url, settings.store_key, settings.store_secret, settings.bucket)
    if missing := [name for name, value in zip(_NEEDED, values, strict=True) if value is None]:
        why = f"{', '.join(missing)} not set: only MLflow has the store's keys, and was asked to write to it"
        yield Finding(STORE, State.NOT_CHECKED, why)
        return
    place = without_login(str(settings.store_url))
    try:
        is_there = yield from _bucket(settings, place)
        yield _keys(settings)
        if is_there:
            yield _uploads(settings)
    except (BotoCoreError, ValueError) as error:
        remedy = "start the store, or set AWS_ENDPOINT_URL to where it is"
        yield Finding(STORE, State.PROBLEM, f"{place}: {error}", remedy)


def _bucket(settings: Settings, place: str) -> Generator[Finding, None, bool]:
    """Yield what is found; return whether the bucket answers to these keys."""
    client = _client(settings, _secret(settings))
    name = settings.bucket
    status, error = _status(partial(client.head_bucket, Bucket=name))
    if status == 404:
        yield Finding(BUCKET, State.PROBLEM, f"there is no bucket {name} at {place}", _INITIALISE)
        return False
    if error:
        yield Finding(
            STORE, State.PROBLEM, f"{place} refused: {error}", "set AWS_ACCESS_KEY_ID and its secret"
        )
        return False
    yield Finding(STORE, State.OK, f"{place} answers to these keys")
    versioning: dict[str, Any] = {}
    status, error = _status(lambda: versioning.update(client.get_bucket_versioning(Bucket=name)))
    if error:
        observed = f"{name} exists; its versioning could not be read: {error}"
        yield Finding(BUCKET, State.WARNING, observed, "let these keys read the bucket's versioning")
    elif versioning.get("Status") != "Enabled":
        observed = f"{name} exists, but is not versioned: overwritten objects are lost"
        yield Finding(BUCKET, State.PROBLEM, observed, "`podium initialise stores` turns versioning on")
    else:
        yield Finding(BUCKET, State.OK, f"{name} exists, and is versioned")
    return True


def _secret(settings: Settings) -> str | None:
    return None if settings.store_secret is None else settings.store_secret.get_secret_value()


def _uploads(settings: Settings) -> Finding:
    """Look for uploads that never ended, which MLflow cannot list, and for a rule that removes them."""
    client, bucket = _client(settings, _secret(settings)), settings.bucket
    found: dict[str, Any] = {}
    _, error = _status(lambda: found.update(client.list_multipart_uploads(Bucket=bucket)))
    if error:
        remedy = "let these keys list the bucket's uploads, or look at them in the store"
        return Finding(UPLOADS, State.WARNING, f"uploads to {bucket} could not be listed: {error}", remedy)
    begun = sorted(upload["Initiated"] for upload in found.get("Uploads", ()))
    observed = "no upload is open"
    if begun:
        count = "1 upload is open," if len(begun) == 1 else f"{len(begun):,} uploads are open, the oldest"
        observed = f"{count} since {begun[0]:%Y-%m-%d}"
    rules: dict[str, Any] = {}
    # A bucket without any rule answers with an error.
    _status(lambda: rules.update(client.get_bucket_lifecycle_configuration(Bucket=bucket)))
    days = [
        rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        for rule in rules.get("Rules", ())
        if rule["Status"] == "Enabled" and "AbortIncompleteMultipartUpload" in rule
    ]
    if not days:
        observed += "; no lifecycle rule removes the parts of uploads that never end"
        remedy = "`podium initialise stores` makes one where the bucket has no rules: docs/retention.md"
        return Finding(UPLOADS, State.WARNING, observed, remedy)
    return Finding(UPLOADS, State.OK, f"{observed}; after {min(days)} days the store removes the parts")


def _keys(settings: Settings) -> Finding:
    """Ask with a wrong secret, and without a signature."""
    taken, odd = [], []
    for how, secret in (("a wrong secret", token_hex()), ("no signature", None)):
        client = _client(settings, secret)
        status, error = _status(partial(client.list_objects_v2, Bucket=settings.bucket, MaxKeys=1))
        if not error:
            taken.append(how)
        elif status not in _REFUSED:
            odd.append(f"{how}: {error}")
    if taken:
        observed = f"it accepts {' and '.join(taken)}: everybody who reaches it can change a model"
        return Finding(
            KEYS, State.PROBLEM, observed, "turn on its access control: without keys it is open to everybody"
        )
    if odd:
        return Finding(
            KEYS, State.PROBLEM, f"neither accepted nor refused: {'; '.join(odd)}", "see the store's log"
        )
    return Finding(KEYS, State.OK, "requests with a wrong secret, or without a signature, are refused")


def _client(settings: Settings, secret: str | None) -> Any:
    """Return a client with this secret; without one it does not sign."""
    return boto3.client(
        "s3",
        endpoint_url=settings.store_url,
        aws_access_key_id=settings.store_key,
        aws_secret_access_key=secret or "none",
        region_name=settings.store_region,
        config=Config(
            connect_timeout=TIMEOUT_SECONDS,
            read_timeout=TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            **({} if secret else {"signature_version": UNSIGNED}),
        ),
    )


def _status(call: Callable[[], object]) -> tuple[int, str]:
    """Return the status of the answer, and its error; "" if there is none."""
    try:
        call()
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"]), str(error)
    return 200, ""
