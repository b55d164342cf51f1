"""Does the object store turn strangers away, at every door that it has?

Asked at each start, before it is called ready. SeaweedFS opens what it finds no keys or certificate for, and
only logs that; so each port that its processes listen on is tried, whatever the settings say.
"""

import json
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path

import psutil

from podium.errors import StackError
from podium.stack import orphans
from podium.stack.layout import Layout, Paths
from podium.stack.ports import occupied_by
from podium.stack.postgres import weed_binary
from podium.stack.probes import signed_request

_FORBIDDEN = 403
# A store that was just started may answer nothing for twenty seconds.
_PATIENCE_SECONDS = 60.0
_HTTP_REQUEST = b"GET / HTTP/1.0\r\n\r\n"
# The preface of HTTP/2 and empty settings: with them gRPC begins.
_GRPC_REQUEST = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SPEAKS_TLS_ONLY = (
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server",
    b"\x15\x03",
)

Address = tuple[str, int]


def assert_keys_enforced(paths: Paths, layout: Layout) -> None:
    """Make sure that the store lets nobody in without our keys, or our certificate.

    Raises:
        StackError: one of its doors is open, or could not be tried; such a store must not be left running.
    """
    addresses, files = _all_doors(paths, layout)
    for file in sorted(files):
        _assert_ours_alone(file)
    for address in sorted(addresses):
        if address[1] != layout.ports.s3:
            _assert_certificate_demanded(address)
    _assert_s3_keys_demanded(layout)
    _assert_no_other_keys(paths, layout)


def store_processes(paths: Paths) -> list[psutil.Process]:
    """Return the processes of the store of a state directory."""
    return orphans.find(orphans.Footprint.of([paths.run], [weed_binary()]))


def _all_doors(paths: Paths, layout: Layout) -> tuple[set[Address], set[str]]:
    known = set(occupied_by("s3", layout.ports.s3))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        addresses, files = _listening(paths)
        missing = known - {port for _, port in addresses}
        if not missing:
            return addresses, files
        if time.monotonic() > deadline:
            raise StackError(
                f"s3 does not listen on port {min(missing)}: whether it is closed cannot be tried."
            )
        time.sleep(0.1)


def _listening(paths: Paths) -> tuple[set[Address], set[str]]:
    try:
        found = [one for process in store_processes(paths) for one in process.net_connections("all")]
    except psutil.NoSuchProcess:
        return set(), set()  # it ended: asked again
    except psutil.AccessDenied as error:
        raise StackError(
            "The ports of s3 cannot be listed, so it is unknown whether it is closed."
        ) from error
    addresses = {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}
    return addresses, {str(one.laddr) for one in found if one.family == socket.AF_UNIX and one.laddr}


def _assert_ours_alone(file: str) -> None:
    # A socket without a file is for everybody.
    status = Path(file).lstat() if file.startswith("/") else None
    if status is None or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise StackError(f"s3 listens on the socket {file!r}, which others may use too: it is open.")


def _assert_certificate_demanded(address: Address) -> None:
    answer = _told_over_tls(address) or _told(address, _HTTP_REQUEST) or _told(address, _GRPC_REQUEST)
    if answer:
        raise StackError(
            f"s3 talks on port {address[1]} to a client without our certificate ({answer}): it is open to "
            "every user of this machine."
        )


def _told_over_tls(address: Address) -> str:
    """Return what somebody without a certificate is told; nothing if that it is needed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a stranger does not care who answers
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection(address, _PATIENCE_SECONDS) as connection,
            context.wrap_socket(connection) as secured,
        ):
            return f"TLS: {secured.recv(80)!r}"
    except ssl.SSLError as error:
        return "" if error.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED" else f"TLS: {error.reason}"
    except OSError as error:
        return f"TLS: {error}"


def _told(address: Address, request: bytes) -> str:
    """Return the answer to a request without TLS; nothing if it is none, or that TLS is needed."""
    try:
        with socket.create_connection(address, _PATIENCE_SECONDS) as connection:
            connection.sendall(request)
            answer = connection.recv(80)
    except ConnectionError:
        return ""
    except OSError as error:
        return str(error)
    return "" if answer.startswith(_SPEAKS_TLS_ONLY) else repr(answer) if answer else ""


def _assert_s3_keys_demanded(layout: Layout) -> None:
    wrong = (layout.secrets.s3_key, "x" * len(layout.secrets.s3_secret))
    unknown = ("y" * len(layout.secrets.s3_key), layout.secrets.s3_secret)
    for what, keys in (("a wrong secret", wrong), ("an unknown key", unknown), ("no signature", None)):
        for method in ("GET", "PUT"):
            status, _ = signed_request(method, layout, keys, b"")
            if status != _FORBIDDEN:
                raise StackError(
                    f"s3 answered {status} to {method} with {what}, where only {_FORBIDDEN} is right: "
                    "it is open."
                )


def _assert_no_other_keys(paths: Paths, layout: Layout) -> None:
    said = weed_shell(paths, layout, "s3.configure")
    try:
        accounts = json.loads(said)
        known = [*accounts["identities"], *accounts["serviceAccounts"]]
        others = [one.get("name") or one["id"] for one in known]
    except (ValueError, LookupError, TypeError) as error:
        # What it said is not shown: it may hold keys.
        raise StackError("s3 did not say which keys it takes.") from error
    if others:
        raise StackError(
            f"s3 takes the keys of {', '.join(map(repr, others))}, which Podium did not make: somebody had "
            "access to the store. How to remove them is in docs/operations.md."
        )


def weed_shell(paths: Paths, layout: Layout, *commands: str) -> str:
    """Return what the store's own shell answers, which our certificate lets in.

    Raises:
        StackError: it ended with an error, or not in time.
    """
    first = layout.ports.s3
    servers = (f"-master=127.0.0.1:{first + 2}.{first + 3}", f"-filer=127.0.0.1:{first + 6}.{first + 7}")
    try:
        done = subprocess.run(
            [str(weed_binary()), "shell", *servers],
            input="\n".join([*commands, "exit", ""]),
            cwd=paths.run,
            env={"HOME": str(paths.s3)},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise StackError(f"The shell of s3 does not answer: {error}") from error
    return done.stdout
