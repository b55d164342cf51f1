"""A stack as ``make up`` starts it: the shipped models run on it, then it is killed and heals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from podium.stack import control
from podium.stack.layout import Paths, repo_root
from podium.stack.parts import ALL_PARTS
from podium.stack.running_stack import Stack, running_stack
from support.command_line import stack_command
from support.shipped_models import write_shipped_models


@pytest.fixture(scope="session")
def paths() -> Iterator[Paths]:
    made = Paths(repo_root() / ".podium" / f"test-stack-{os.getpid()}")
    yield made
    control.clean(made)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shipped_models(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def up(paths: Paths, models: Path) -> Iterator[Paths]:
    """The whole stack, started in the background by the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODIUM_MODELS_DIR", str(models))
        patch.setenv("PODIUM_EPHEMERAL", "false")
        done = stack_command(paths.state_dir, "up")
        assert done.returncode == 0, done.stdout + done.stderr
        for part in ALL_PARTS:
            assert f"{part}" in done.stdout
        yield paths


@pytest.fixture(scope="session")
def stack(up: Paths) -> Iterator[Stack]:
    with running_stack(up.state_dir) as running:
        yield running
