"""Which doors are called open, tried on servers that are open in one way each."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from podium.errors import StackError
from podium.stack.layout import Layout, Secrets
from podium.stack.ports import Ports
from podium.stack.store_certificate import CERTIFICATE_FILE, prepare
from podium.stack.store_doors import (
    _assert_certificate_demanded,
    _assert_ours_alone,
    _assert_s3_keys_demanded,
)

SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Answer each connection to a free port."""

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """A server's TLS as the store has it: our certificate is shown, and demanded."""
    prepare(tmp_path)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(tmp_path / CERTIFICATE_FILE)
    made.load_verify_locations(tmp_path / CERTIFICATE_FILE)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def secured(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as talk:
            talk.sendall(SETTINGS_FRAME)
            talk.recv(1)

    return answer


def test_a_door_that_demands_our_certificate_is_closed(context: ssl.SSLContext) -> None:
    with server(secured(context)) as port:
        _assert_certificate_demanded(("127.0.0.1", port))


@pytest.mark.parametrize("mode", [ssl.CERT_NONE, ssl.CERT_OPTIONAL])
def test_tls_that_can_do_without_a_certificate_is_open(context: ssl.SSLContext, mode: ssl.VerifyMode) -> None:
    context.verify_mode = mode
    with (
        server(secured(context)) as port,
        pytest.raises(StackError, match=rf"port {port} .* without our certificate \(TLS: b'\\x00"),
    ):
        _assert_certificate_demanded(("127.0.0.1", port))


def asked(what: bytes, answers: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        if connection.recv(100).startswith(what):
            connection.sendall(answers)

    return answer


@pytest.mark.parametrize(
    ("what", "answers"),
    [
        (b"GET ", b"HTTP/1.0 200 OK\r\n\r\n<html>"),
        (b"GET ", b"HTTP/1.0 400 Bad Request\r\n\r\nno such volume"),
        (b"GET ", b"HTTP/1.0 404 Not Found\r\n\r\n"),
        (b"PRI ", SETTINGS_FRAME),
    ],
)
def test_whatever_talks_without_tls_is_open(context: ssl.SSLContext, what: bytes, answers: bytes) -> None:
    plain, behind_tls = asked(what, answers), secured(context)

    def answer(connection: socket.socket) -> None:
        is_tls = connection.recv(1, socket.MSG_PEEK) == b"\x16"
        (behind_tls if is_tls else plain)(connection)

    with server(answer) as port, pytest.raises(StackError, match=f"port {port} .*open"):
        _assert_certificate_demanded(("127.0.0.1", port))
    with server(plain) as port, pytest.raises(StackError, match=f"port {port} .*open"):
        _assert_certificate_demanded(("127.0.0.1", port))


def test_a_door_that_cannot_be_tried_is_not_called_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(StackError, match=f"port {port}"):
        _assert_certificate_demanded(("127.0.0.1", port))
    # One that speaks another language may be open all the same.
    with server(lambda _: None) as silent, pytest.raises(StackError, match=f"port {silent} .*TLS"):
        _assert_certificate_demanded(("127.0.0.1", silent))


def test_a_socket_that_others_may_use_is_open(tmp_path: Path) -> None:
    file = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(file))
        file.chmod(0o700)
        _assert_ours_alone(str(file))
        for mode in (0o702, 0o720):
            file.chmod(mode)
            with pytest.raises(StackError, match="x.sock"):
                _assert_ours_alone(str(file))
    with pytest.raises(StackError, match="weed"):
        _assert_ours_alone("\0weed")


@pytest.mark.parametrize(
    ("lets_in", "told"),
    [
        ("Credential=PODIUM", "a wrong secret"),
        ("Credential=yyyy", "an unknown key"),
        ("GET without a signature", "GET with no signature"),
        ("PUT without a signature", "PUT with no signature"),
    ],
)
def test_s3_that_takes_a_wrong_key_or_none_is_open(tmp_path: Path, lets_in: str, told: str) -> None:
    def answer(connection: socket.socket) -> None:
        request = connection.recv(10_000).decode()
        if "authorization" not in request.lower():
            request = f"{request[:3]} without a signature"
        status = "200 OK" if lets_in in request else "403 Forbidden"
        connection.sendall(f"HTTP/1.0 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    with server(answer) as port:
        layout = Layout(
            ports=Ports(s3=port, airflow=1, mlflow=2, postgres=3),
            secrets=Secrets.generate(),
            socket=tmp_path / "s.sock",
            postgres_home=tmp_path,
        )
        with pytest.raises(StackError, match=f"s3 answered 200 to .*{told}"):
            _assert_s3_keys_demanded(layout)
