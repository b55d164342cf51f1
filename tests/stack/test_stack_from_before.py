"""A stack from before the rooms had names opens with the code of now.

``tests/data/stack-of-ceecae5.tar.gz`` is what `make backup` copied at that commit, after two lifecycles of
the toy with their approvals in Airflow. Nothing that a stack stores may need the modules that wrote it.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator

import pytest

from podium.ledger.chain import walk
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.rollback import rollback, rollback_request
from podium.lifecycle.verify import alias_differences, told_heads
from podium.services import Services, connect
from podium.settings import PROJECT_ROOT
from podium.stack import control
from podium.stack.layout import Paths
from podium.stack.running_stack import running_stack
from support.command_line import stack_command
from support.serving import serving
from support.steps import asked_now

BACKUP = PROJECT_ROOT / "tests" / "data" / "stack-of-ceecae5.tar.gz"


@pytest.fixture(scope="module")
def from_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(BACKUP) as archive:
        archive.extractall(folder, filter="data")
    state = PROJECT_ROOT / ".podium" / f"test-before-{os.getpid()}"
    try:
        restored = stack_command(state, "restore", "--from", str(folder / "backup"))
        assert restored.returncode == 0, restored.stdout + restored.stderr
        assert "toy v2" in restored.stdout
        with running_stack(state, parts={"mlflow"}) as stack, pytest.MonkeyPatch.context() as patch:
            for name, value in stack.client_env().items():
                patch.setenv(name, value)
            yield connect()
    finally:
        control.clean(Paths(state))


def test_its_record_is_whole_and_its_aliases_are_what_it_says(from_before: Services) -> None:
    chain = walk(from_before.ledger.record(), told_heads(from_before, ["toy"]))
    assert (chain.difference, chain.events) == (None, 14)
    assert alias_differences(from_before, "toy") == []
    assert from_before.registry.aliases("toy") == {"champion": 2, "previous_champion": 1}


def test_its_champion_is_served_and_rolled_back(from_before: Services) -> None:
    with serving(from_before, "toy") as server:
        server.wait_until_ready()
        answer = server.client.post("/predict", json=[{"x": 0.5}]).json()
        assert answer["version"] == 2
        request = rollback_request(
            "toy", None, asks=Person("olga"), reason="complaints", run="rollback_champion/by-hand"
        )
        event = rollback(from_before, request, asked_now())
        assert (event.event, event.from_version, event.version) == ("rolled_back", 2, 1)
        server.wait_for_version(1)
        assert server.client.post("/predict", json=[{"x": 0.5}]).json()["version"] == 1
    assert from_before.registry.aliases("toy") == {"champion": 1}
    assert alias_differences(from_before, "toy") == []
