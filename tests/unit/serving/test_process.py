"""A process of a model server leaves no copy of a model behind, nor itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from podium.serving.process import own_folder
from podium.settings import PROJECT_ROOT
from support.patience import PATIENCE_SECONDS


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed_while_it_held_a_folder() -> None:
    child = os.fork()
    if child == 0:
        with own_folder() as folder:
            (folder / "model.skops").write_bytes(b"weights")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_folder_is_removed_at_its_end_and_those_of_dead_processes_at_the_next_start(
    temporary: Path,
) -> None:
    (temporary / "podium-of-somebody-else").mkdir()
    with own_folder() as alive:
        (alive / "model.skops").write_bytes(b"weights")
        killed_while_it_held_a_folder()
        (left,) = {*temporary.glob("podium-serve-*")} - {alive}
        assert (left / "model.skops").is_file()
        with own_folder() as later:
            assert {*temporary.glob("podium-serve-*")} == {alive, later}
        assert (alive / "model.skops").is_file()
    assert [path.name for path in temporary.iterdir()] == ["podium-of-somebody-else"]


def test_a_link_and_a_folder_without_a_lock_are_left_alone(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (temporary / "podium-serve-link").symlink_to(elsewhere)
    (temporary / "podium-serve-file").write_text("no folder")
    with own_folder():
        pass
    assert elsewhere.is_dir()
    assert (temporary / "podium-serve-file").is_file()


SERVER = """
import multiprocessing, os, time
from podium.serving.process import end_with_parent

def work():
    end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
    time.sleep(600)
"""


def test_a_process_whose_parent_was_killed_ends(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "include")},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.is_running()
        parent.kill()
        assert psutil.wait_procs([worker], PATIENCE_SECONDS)[0] == [worker]
