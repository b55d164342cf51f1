"""What a source tells of itself: sizes and versions of its files, a Delta version, the query, a DVC hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podium.errors import DataError, Outage
from podium.model_file.source import DELTA, S3, SQL
from podium.sources.chunks import Partition, Source
from podium.sources.dvc import describe_dvc
from podium.sources.storage import query_of

Facts = Mapping[str, Any]
"""JSON: ``files``, ``objects``, ``query`` or ``delta``, and ``dvc`` where there is such a file."""

_ASKING = 8


def source_facts(source: Source, partitions: Sequence[Partition]) -> Facts:
    """Ask a source what it knows of itself.

    Args:
        source: What is read.
        partitions: Its parts: those that are read.

    Raises:
        DataError: A part is gone.
        Outage: The store did not answer.
    """
    if source.source.startswith(SQL):
        as_of = None if source.as_of is None else f"{source.as_of.isoformat()}Z"
        asked = {"query": query_of(source.source), "database": source.database, "as_of": as_of}
        return {**asked, "read_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    if source.source.startswith(DELTA):
        return {"delta": source.source.removeprefix(DELTA).strip(), "version": int(partitions[0].at)}
    if source.source.startswith(S3):
        return {"objects": _objects([partition.at for partition in partitions])}
    return {"files": [_file(Path(partition.at), source.home) for partition in partitions]}


def identities(source: Source, partitions: Sequence[Partition]) -> dict[str, str]:
    """Return a text for what is in each part now, by its name: the same for as long as the part is.

    The result of a query has none.

    Raises:
        DataError: A part is gone.
        Outage: The store did not answer.
    """
    facts = source_facts(source, partitions)
    if "query" in facts:
        return {}
    parts = facts.get("files", facts.get("objects", [facts]))
    return {
        partition.name: json.dumps(part, sort_keys=True)
        for partition, part in zip(partitions, parts, strict=True)
    }


def changed(before: Facts, after: Facts) -> str:
    """Name the first part that was added, removed or written between two looks; "" if none was."""
    for key, name in (("files", "file"), ("objects", "object")):
        earlier, later = ({one[name]: one for one in facts.get(key, ())} for facts in (before, after))
        for part in sorted(earlier.keys() | later.keys()):
            if part not in later:
                return f"{part} was removed"
            if part not in earlier:
                return f"{part} was added"
            if earlier[part] != later[part]:
                return f"{part} was written"
    return ""


def describe(facts: Facts) -> str:
    """Say in one line which state of the source was read."""
    if "query" in facts:
        read = (
            f"a query of {facts['database']} (sha256 {_sha256(facts['query'])}), read at {facts['read_at']}"
        )
        return f"{read}, as of {facts['as_of']}" if facts["as_of"] else read
    if "delta" in facts:
        return f"Delta table {facts['delta']}, version {facts['version']}"
    if "objects" in facts:
        return _parts(facts["objects"], "object", "version" if _all_versioned(facts) else "etag")
    said = _parts(facts.get("files", ()), "file", "bytes")
    return f"{said}, {describe_dvc(facts['dvc'])}" if "dvc" in facts else said


def _all_versioned(facts: Facts) -> bool:
    return all(one["version"] for one in facts["objects"])


def _parts(parts: Sequence[Facts], name: str, by: str) -> str:
    """Describe one part by its version; many by a digest of their versions, which the artifact lists."""
    if len(parts) == 1:
        return f"{name} {parts[0][name]}, {by} {parts[0][by]}"
    told = _sha256(json.dumps([[one[name], one[by]] for one in parts]))
    return f"{len(parts):,} {name}s, sha256 of their names and {by} {told}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _file(path: Path, home: Path) -> dict[str, Any]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    shown = path.relative_to(home) if path.is_relative_to(home) else path
    modified = datetime.fromtimestamp(found.st_mtime, UTC).isoformat()
    return {"file": str(shown), "bytes": found.st_size, "modified": modified}


def _objects(addresses: Sequence[str]) -> list[dict[str, Any]]:
    import boto3

    client = boto3.client("s3")

    def ask(address: str) -> dict[str, Any]:
        bucket, _, key = address.removeprefix(S3).partition("/")
        with _store_errors(address):
            found = client.head_object(Bucket=bucket, Key=key)
        version = found.get("VersionId")
        return {
            "object": address,
            "bytes": int(found["ContentLength"]),
            "etag": found["ETag"].strip('"'),
            # What a bucket without versions answers.
            "version": None if version == "null" else version,
        }

    with ThreadPoolExecutor(_ASKING) as pool:
        return list(pool.map(ask, addresses))


@contextmanager
def _store_errors(address: str) -> Iterator[None]:
    """Translate what boto3 raises.

    Raises:
        DataError: There is no such object.
        Outage: The store did not answer, or refused.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
            raise DataError(f"{address} no longer exists") from error
        raise Outage(f"{address}: the store did not answer: {error}") from error
    except BotoCoreError as error:
        raise Outage(f"{address}: the store did not answer: {error}") from error
