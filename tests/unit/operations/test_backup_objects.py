"""Objects that are copied out of a store whose connections break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from podium.errors import DiskFull, Outage, PodiumError
from podium.operations.backup import databases, objects
from podium.operations.backup.objects import Listed, Store, copy_out
from podium.stack.layout import Layout
from podium.stack.postgres import superuser_url
from support.full_disk import no_file_larger_than

QUIET = Console(file=StringIO())
BYTES = b"weights of a model" * 1000
REFUSED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


class BreakingStore(ThreadingHTTPServer):
    """Gives each object, after it has broken the connection in the middle of it so many times.

    Attributes:
        breaks: By key: how often.
        asked: The key of each request.
    """

    daemon_threads = True

    def __init__(self, breaks: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.breaks = breaks
        self.asked: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: BreakingStore

    def do_GET(self) -> None:
        key = self.path.removeprefix("/bucket/")
        self.server.asked.append(key)
        refused = key == "refused"
        status = 403 if refused else 200 if key in self.server.breaks else 404
        body = REFUSED if refused else BYTES if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        broken = self.server.breaks.get(key, 0) >= self.server.asked.count(key)
        self.wfile.write(body[: len(body) // 2] if broken else body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[BreakingStore]:
    with BreakingStore({}) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def store(server: BreakingStore) -> Store:
    return Store(f"http://127.0.0.1:{server.server_port}", "key", "hush hush", "bucket")


def test_an_object_whose_connection_breaks_is_read_again_and_whole(
    server: BreakingStore, store: Store, tmp_path: Path
) -> None:
    server.breaks |= {"often": 3, "never": 0}
    copied, gone = copy_out(
        store, [Listed(key, len(BYTES)) for key in ("often", "gone", "never")], tmp_path, QUIET
    )
    assert gone == ["gone"]
    assert [(item.key, (tmp_path / item.file).read_bytes()) for item in copied] == [
        ("often", BYTES),
        ("never", BYTES),
    ]
    assert sorted(server.asked) == ["gone", "never", "often", "often", "often", "often"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / copied[0].file]


def test_a_store_whose_connections_always_break_is_an_outage(
    server: BreakingStore, store: Store, tmp_path: Path
) -> None:
    server.breaks["always"] = 100
    with pytest.raises(Outage, match="the store did not do reading always in bucket 'bucket': "):
        copy_out(store, [Listed("always", len(BYTES))], tmp_path, QUIET)
    assert server.asked == ["always"] * objects._TRIES
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_not_asked_again(server: BreakingStore, store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        PodiumError, match=r"refused reading refused in bucket 'bucket' \(AccessDenied\)"
    ) as refused:
        copy_out(store, [Listed("refused", 1)], tmp_path, QUIET)
    assert not isinstance(refused.value, Outage)
    assert server.asked == ["refused"]


def test_a_folder_that_takes_nothing_is_named(server: BreakingStore, store: Store, tmp_path: Path) -> None:
    server.breaks["fine"] = 0
    with pytest.raises(PodiumError, match=f"fine cannot be written to {tmp_path}/nowhere: "):
        copy_out(store, [Listed("fine", len(BYTES))], tmp_path / "nowhere", QUIET)


def test_a_full_disk_is_said_to_be_full(
    server: BreakingStore, store: Store, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.breaks["fine"] = 0
    with no_file_larger_than(1000), pytest.raises(DiskFull) as full:
        copy_out(store, [Listed("fine", len(BYTES))], tmp_path, QUIET)
    assert str(full.value).startswith(f"the backup of fine: the disk is full at {tmp_path}: File too large")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(databases, "private_file", lambda _: nullcontext(Path("/dev/full")))
    url = superuser_url(layout)
    with databases._snapshot(url, "ledger") as snapshot, pytest.raises(DiskFull) as full:
        databases.dump(url, snapshot, tmp_path)
    assert str(full.value).startswith(
        f"the backup of the database ledger: the disk is full at {tmp_path}: No space left on device"
    )
