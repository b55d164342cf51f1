"""Is a part ready? Real questions, not open ports. A probe returns None when ready, else what is missing."""

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from podium.stack.layout import Layout
from podium.stack.parts import Part
from podium.stack.postgres import connect_as_superuser
from podium.stack.programs import BUCKET

Probe = Callable[[], str | None]
_HEARTBEATS: Mapping[Part, str] = {
    Part.SCHEDULER: "scheduler",
    Part.DAG_PROCESSOR: "dag_processor",
    Part.TRIGGERER: "triggerer",
}
# An empty proxy table: a proxy from the environment must never see requests to our own loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def probe_of(part: Part, layout: Layout, since: datetime) -> Probe:
    """Return the probe of a part that was started at `since`."""
    if part is Part.POSTGRES:
        return lambda: postgres_login(layout)
    if part is Part.S3:
        return lambda: s3_round_trip(layout)
    if part is Part.MLFLOW:
        return lambda: _get(f"{layout.mlflow_url}/health")[1]
    return lambda: airflow_health(part, layout, since)


def postgres_login(layout: Layout) -> str | None:
    """Log in and ask for 1."""
    import psycopg2

    try:
        connection = connect_as_superuser(layout)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.close()
    except psycopg2.OperationalError as error:
        return str(error).strip()
    return None


def s3_round_trip(layout: Layout) -> str | None:
    """Write and read one small object with our keys."""
    body = b"podium"
    keys = (layout.secrets.s3_key, layout.secrets.s3_secret)
    for method, payload in (("PUT", body), ("GET", b"")):
        status, answer = signed_request(method, layout, keys, payload)
        if status != 200 or (method == "GET" and answer != body):
            return f"{method} of the probe object answered {status or answer!r}"
    return None


def signed_request(
    method: str, layout: Layout, keys: tuple[str, str] | None, body: bytes
) -> tuple[int, bytes]:
    """Ask the store for the probe object, or write it.

    Args:
        method: GET or PUT.
        layout: says where the store is.
        keys: key and secret to sign with; None signs nothing.
        body: what to write.

    Returns:
        HTTP status and body; status 0 and the reason where nothing answered.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    # Signing is private to botocore: https://github.com/boto/botocore/tree/1.44.5/botocore
    url = f"{layout.s3_url}/{BUCKET}/.podium-probe"
    signed = AWSRequest(method, url, data=body)
    signed.headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    if keys is not None:
        S3SigV4Auth(Credentials(*keys), "s3", "us-east-1").add_auth(signed)
    headers = {name: str(value) for name, value in signed.headers.items()}
    request = urllib.request.Request(url, data=body or None, headers=headers, method=method)  # noqa: S310
    try:
        with _OPENER.open(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error).encode()


def airflow_health(part: Part, layout: Layout, since: datetime) -> str | None:
    """Ask the API server; a heartbeat counts only if it is younger than the start."""
    body, missing = _get(f"{layout.airflow_url}/api/v2/monitor/health")
    if missing is not None or part is Part.API_SERVER:
        return missing
    name = _HEARTBEATS[part]
    entry: Mapping[str, str | None] = json.loads(body).get(name) or {}
    beat = entry.get(f"latest_{name}_heartbeat")
    if entry.get("status") != "healthy" or beat is None:
        return f"the API server calls it {entry.get('status')}"
    if _moment(beat) < since:
        return "no heartbeat since it was started"
    return None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _get(url: str) -> tuple[bytes, str | None]:
    try:
        with _OPENER.open(url, timeout=10) as answer:
            return answer.read(), None
    except (OSError, http.client.HTTPException) as error:  # urllib's own errors are OSErrors
        return b"", f"{url}: {error}"
