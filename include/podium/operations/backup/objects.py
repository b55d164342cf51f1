"""The objects of a backup: copied out of the store one by one, by a few threads, and back into a bucket."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from podium.disk import full_disk_named
from podium.errors import Outage, PodiumError
from podium.operations.backup.index import StoredObject, headers_of, object_file, progress

# `podium.stack` asks with it whether the store works.
PROBE = ".podium-probe"
_THREADS = 8
_CHUNK_BYTES = 1024 * 1024
_TRIES = 4
_GONE = ("NoSuchKey", "404", "NotFound")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Store:
    """An S3 bucket, and who may do everything with it.

    Attributes:
        endpoint: URL of the S3 server.
    """

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str

    def client(self) -> Any:
        """Return a client, which threads may share."""
        config = Config(
            retries={"mode": "standard", "max_attempts": 5},
            max_pool_connections=_THREADS * 2,
            # A proxy from the environment must never see requests to our own loopback.
            proxies={} if "//127.0.0.1" in self.endpoint else None,
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
            config=config,
        )


@dataclass(frozen=True)
class Listed:
    """An object as the listing of its bucket names it; its size is in bytes."""

    key: str
    size: int


def list_objects(store: Store) -> list[Listed]:
    """Return all objects of the bucket, in the order of their keys.

    Raises:
        NotFound: There is no such bucket.
        Outage: The store did not answer.
    """
    try:
        pages = store.client().get_paginator("list_objects_v2").paginate(Bucket=store.bucket)
        found = [Listed(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", ())]
    except (ClientError, BotoCoreError) as error:
        raise _translated(store, "listing the objects", error) from error
    return [item for item in found if item.key != PROBE]


def copy_out(
    store: Store, listed: Iterable[Listed], folder: Path, console: Console
) -> tuple[list[StoredObject], list[str]]:
    """Copy objects into a backup's folder, each under its sha256.

    Returns:
        What was copied, and the keys of those that were gone when their turn came.

    Raises:
        Outage: The store did not answer, or gave another number of bytes than it said, several times.
    """
    listed, client = list(listed), store.client()
    with progress(console) as bars:
        task = bars.add_task(f"{len(listed):,} objects", total=sum(item.size for item in listed))

        def copy(item: Listed) -> StoredObject | None:
            copied = _copy_one(store, client, item.key, folder)
            bars.advance(task, item.size)
            return copied

        copies = _together(copy, listed)
    gone = [item.key for item, copied in zip(listed, copies, strict=True) if copied is None]
    return [copied for copied in copies if copied is not None], gone


def copy_in(store: Store, objects: Iterable[StoredObject], folder: Path, console: Console) -> None:
    """Copy the objects of a verified backup into a bucket.

    Raises:
        Outage: The store did not take one.
    """
    objects, client = list(objects), store.client()
    # Several threads here already, so each object by one.
    transfer = TransferConfig(use_threads=False)
    with progress(console) as bars:
        task = bars.add_task(f"{len(objects):,} objects", total=sum(item.size for item in objects))

        def copy(item: StoredObject) -> None:
            headers = {"ContentType": item.content_type, "ContentEncoding": item.content_encoding}
            extra = {name: value for name, value in headers.items() if value} | {"Metadata": item.metadata}
            try:
                client.upload_file(str(folder / item.file), store.bucket, item.key, extra, Config=transfer)
            except (ClientError, BotoCoreError, boto3.exceptions.S3UploadFailedError) as error:
                raise _translated(store, f"writing {item.key}", error) from error
            bars.advance(task, item.size)

        _together(copy, objects)


def _together(work: Callable[[T], R], items: list[T]) -> list[R]:
    """Do the work for all items with a few threads; the first error ends it all."""
    pool = ThreadPoolExecutor(_THREADS)
    try:
        futures = [pool.submit(work, item) for item in items]
        wait(futures, return_when=FIRST_EXCEPTION)
        pool.shutdown(wait=False, cancel_futures=True)
        done = [future for future in futures if future.done() and not future.cancelled()]
        for future in done:
            future.result()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _copy_one(store: Store, client: Any, key: str, folder: Path) -> StoredObject | None:
    """Copy one object; None if it is not there any more."""
    try:
        with full_disk_named(f"the backup of {key}", folder):
            return _fetched(store, client, key, folder)
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in _GONE:
            return None
        raise _translated(store, f"reading {key}", error) from error
    except OSError as error:
        raise PodiumError(f"{key} cannot be written to {folder}: {error}") from error


# botocore asks again by itself, but not where the connection breaks while the bytes come.
@retry(
    retry=retry_if_exception_type(BotoCoreError),
    stop=stop_after_attempt(_TRIES),
    wait=wait_fixed(0.5),
    reraise=True,
)
def _fetched(store: Store, client: Any, key: str, folder: Path) -> StoredObject:
    answer = client.get_object(Bucket=store.bucket, Key=key)
    digest, size = hashlib.sha256(), 0
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{threading.get_ident()}-")  # mode 600
    try:
        with os.fdopen(handle, "wb") as stream:
            for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                stream.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        copied = StoredObject(key=key, size=size, sha256=digest.hexdigest(), **headers_of(answer))
        target = folder / object_file(copied.sha256)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return copied


def _translated(store: Store, doing: str, error: Exception) -> PodiumError:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    if code == "NoSuchBucket":
        return PodiumError(
            f"the store has no bucket '{store.bucket}': make it with `podium initialise stores`"
        )
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403"):
        return PodiumError(f"the store refused {doing} in bucket '{store.bucket}' ({code}): wrong keys?")
    return Outage(f"the store did not do {doing} in bucket '{store.bucket}': {error}")
