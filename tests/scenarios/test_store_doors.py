"""The embedded object store, really started, and attacked as another user would: with no file of ours."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pytest

from podium.errors import StackError
from podium.settings import PROJECT_ROOT
from podium.stack import control, programs, startup, store_certificate, store_doors
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.ports import occupied_by
from podium.stack.postgres import weed_binary
from podium.stack.programs import BUCKET
from podium.stack.running_stack import running_stack
from support.patience import PATIENCE_SECONDS

HOME = PROJECT_ROOT / ".podium" / "test-store-doors"
PATHS = Paths(HOME)
ROWS = b"the rows of a holdout"
EVE = {"aws_access_key_id": "EVEEVEEVE", "aws_secret_access_key": "evesecretevesecret"}
ATTACK = (
    f"fs.tree /buckets/{BUCKET}",
    f"fs.cat /buckets/{BUCKET}/rows",
    f"s3.configure -user=eve -access_key={EVE['aws_access_key_id']} "
    f"-secret_key={EVE['aws_secret_access_key']} -actions=Read,Write,List,Tagging,Admin -apply",
)
# The same attack takes half a second where it succeeds.
GIVES_UP_SECONDS = 6.0


def layout_of_store() -> Layout:
    layout = load_layout(PATHS)
    assert layout is not None
    return layout


def client(**keys: str) -> Any:
    layout = layout_of_store()
    ours = {"aws_access_key_id": layout.secrets.s3_key, "aws_secret_access_key": layout.secrets.s3_secret}
    return boto3.client("s3", endpoint_url=layout.s3_url, region_name="us-east-1", **(keys or ours))


def read_rows(**keys: str) -> bytes:
    answer: bytes = client(**keys).get_object(Bucket=BUCKET, Key="rows")["Body"].read()
    return answer


def attack(folder: Path) -> subprocess.Popen[str]:
    """Begin the attack: SeaweedFS's own shell, with what is in this folder."""
    first = layout_of_store().ports.s3
    servers = (f"-master=127.0.0.1:{first + 2}.{first + 3}", f"-filer=127.0.0.1:{first + 6}.{first + 7}")
    process = subprocess.Popen(
        [str(weed_binary()), "shell", *servers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={"HOME": str(folder)},
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("\n".join([*ATTACK, "exit", ""]))
    process.stdin.close()
    return process


def loot(*attacks: subprocess.Popen[str]) -> list[str]:
    """Return what each attack saw until it ended or gave up."""
    deadline = time.monotonic() + GIVES_UP_SECONDS
    seen = []
    for process in attacks:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        process.kill()
        process.wait()
        assert process.stdout is not None
        with process.stdout as said:
            seen.append(said.read())
    return seen


@pytest.fixture(scope="module", autouse=True)
def from_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store as Podium ran it before it had a certificate, in which somebody made a key."""
    control.clean(PATHS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_certificate, "prepare", lambda _: None)
        patch.setattr(startup, "assert_keys_enforced", lambda *_: None)
        with running_stack(HOME, parts={"s3"}):
            client().put_object(Bucket=BUCKET, Key="rows", Body=ROWS)
            (seen,) = loot(attack(tmp_path_factory.mktemp("eve")))
            assert ROWS.decode() in seen
            deadline = time.monotonic() + GIVES_UP_SECONDS
            while not can_read(**EVE):
                assert time.monotonic() < deadline, "the attack does not work on an open store either"
    yield
    control.clean(PATHS)


def can_read(**keys: str) -> bool:
    with suppress(botocore.exceptions.ClientError):
        return read_rows(**keys) == ROWS
    return False


def test_a_key_made_while_the_store_was_open_is_named_and_removed_as_the_document_says() -> None:
    with pytest.raises(StackError, match="takes the keys of 'eve'"), running_stack(HOME, parts={"s3"}):
        pass
    assert store_doors.store_processes(PATHS) == []
    with (PATHS.logs / "by-hand.log").open("w") as log:
        alone = subprocess.Popen(["sh", "./s3.sh"], cwd=PATHS.run, stdout=log, stderr=log)
    try:
        said = ""
        while EVE["aws_access_key_id"] not in said:
            with suppress(StackError):  # it is being started
                said = store_doors.weed_shell(
                    PATHS, layout_of_store(), "s3.configure", "s3.configure -user=eve -delete -apply"
                )
    finally:
        alone.terminate()
        alone.wait(PATIENCE_SECONDS)


def test_settings_that_open_a_port_more_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    known = programs.s3_command
    monkeypatch.setattr(programs, "s3_command", lambda *given: (*known(*given), f"-metricsPort={port}"))
    certificate = store_certificate.read(PATHS.run)
    with pytest.raises(StackError, match=f"s3 talks on port {port} "), running_stack(HOME, parts={"s3"}):
        pass
    assert store_doors.store_processes(PATHS) == []
    assert store_certificate.read(PATHS.run) == certificate
    # Where weed keeps flags; the next start must not have this one.
    (PATHS.s3 / "mini.options").write_text(f"metricsPort={port}\n")


def test_a_store_without_its_certificate_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_certificate, "prepare", lambda run: (run / "security.toml").unlink())
    with pytest.raises(StackError, match="s3 talks on port"), running_stack(HOME, parts={"s3"}):
        pass
    assert store_doors.store_processes(PATHS) == []


@pytest.fixture(scope="module")
def store() -> Iterator[Layout]:
    with running_stack(HOME, parts={"s3"}):
        yield layout_of_store()


def test_what_was_stored_before_is_read_and_eves_key_is_refused(store: Layout) -> None:
    assert read_rows() == ROWS
    assert not can_read(**EVE)


def test_the_shell_of_a_stranger_lists_reads_and_makes_nothing(store: Layout, tmp_path: Path) -> None:
    bare, forged = tmp_path / "bare", tmp_path / "forged"
    for folder in (bare, forged):
        folder.mkdir()
    store_certificate.prepare(forged)
    assert ["rows" in seen for seen in loot(attack(bare), attack(forged))] == [False, False]
    assert not can_read(**EVE)
    tree = store_doors.weed_shell(PATHS, store, ATTACK[0])
    assert "rows" in tree
    store_doors.assert_keys_enforced(PATHS, store)


def test_no_inner_port_talks_to_a_stranger(store: Layout, tmp_path: Path) -> None:
    store_certificate.prepare(tmp_path)
    strangers = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    strangers.check_hostname = False
    strangers.verify_mode = ssl.CERT_NONE
    strangers.load_cert_chain(tmp_path / store_certificate.CERTIFICATE_FILE)
    listening, _ = store_doors._listening(PATHS)
    assert {port for _, port in listening} == set(occupied_by("s3", store.ports.s3))
    for address in listening - {("127.0.0.1", store.ports.s3)}:
        with (
            pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca|bad.certificate"),
            socket.create_connection(address, 20) as connection,
            strangers.wrap_socket(connection) as secured,
        ):
            secured.recv(1)


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", f"/buckets/{BUCKET}/rows", "/dir/assign"])
@pytest.mark.parametrize("port", [2, 4, 6, 8], ids=["master", "volume", "filer", "admin"])
def test_pages_of_the_inner_ports_are_shown_to_nobody(store: Layout, port: int, path: str) -> None:
    with pytest.raises(urllib.request.HTTPError, match="400"):
        urllib.request.urlopen(f"http://127.0.0.1:{store.ports.s3 + port}{path}")


def test_what_opens_the_store_is_read_by_its_owner_alone_and_on_no_command_line(store: Layout) -> None:
    _, sockets = store_doors._listening(PATHS)
    assert {str(PATHS.run / name) for name in ("filer.sock", "s3.sock")} < sockets
    assert [name for name in sockets if Path(name).stat().st_mode & 0o077] == []
    opened = [file for file in PATHS.run.iterdir() if file.lstat().st_mode & 0o077]
    assert (opened, PATHS.run.stat().st_mode & 0o077) == ([], 0)
    words = " ".join(word for process in store_doors.store_processes(PATHS) for word in process.cmdline())
    assert "mini" in words
    assert not [value for value in store.secrets.values() if value in words]
    key = (PATHS.run / store_certificate.CERTIFICATE_FILE).read_text().splitlines()[1]
    assert key not in words
