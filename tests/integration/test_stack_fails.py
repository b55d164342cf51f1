"""Services that fail: a store that refuses, is gone or full; MLflow and Postgres killed while they work."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from podium.errors import NotFound, Outage
from podium.ledger.chain import walk
from podium.lifecycle import register as register_module
from podium.lifecycle.verify import alias_differences, told_heads
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import AirflowClient
from podium.operations.backup import objects as objects_module
from podium.services import Services
from podium.stack import backups, control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.parts import Part
from podium.stack.running_stack import Stack
from podium.stack.store_doors import weed_shell
from podium.training.run import TrainedRun, train_model
from podium.versions import check_bytes, manifest_of
from support import big_line
from support.airflow import LifecycleRun, events_of
from support.copies import DATES, MIDNIGHT, QUIET, SPEC, Copied, parts_of
from support.mlflow_client import raw
from support.patience import PATIENCE_SECONDS
from support.steps import FIRST, new_run, promote_as_of, roll_back, train
from support.toy import NUMBER_TOY, write_number_rows
from support.toy_line import SCRIPT

MIB = 1024**2


@pytest.fixture(scope="module", autouse=True)
def killed_run(stack: Stack, start: Callable[..., LifecycleRun]) -> LifecycleRun:
    """A run whose Postgres is killed while it trains; it recovers while the other tests of this file run."""
    run = start("toy-killed")
    run.wait_until("train", "running")
    postgres = psutil.Process(control.status(Paths(stack.state_dir))[Part.POSTGRES].pid)
    for process in (postgres, *postgres.children()):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return run


@pytest.fixture
def second(copied: Copied) -> Stack:
    return copied.stack


@pytest.fixture
def services(second: Stack, monkeypatch: pytest.MonkeyPatch) -> Services:
    # As tasks: what does not answer is tried again by a later try of the task.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return parts_of(second, monkeypatch)


def layout_of(stack: Stack) -> Layout:
    layout = load_layout(Paths(stack.state_dir))
    assert layout is not None
    return layout


@contextmanager
def wrong_keys(stack: Stack) -> Iterator[None]:
    """MLflow runs with a wrong secret of the store."""
    script, secret = Paths(stack.state_dir).run / "mlflow.sh", layout_of(stack).secrets.s3_secret
    right = script.read_text()
    assert secret in right
    try:
        stack.stop_part("mlflow")
        script.write_text(right.replace(secret, "x" * len(secret)))
        stack.start_part("mlflow")
        yield
    finally:
        stack.stop_part("mlflow")
        script.write_text(right)
        stack.start_part("mlflow")


@contextmanager
def lost_bucket(stack: Stack) -> Iterator[None]:
    """Somebody emptied and deleted the bucket; at the end it is back, with all that was in it."""
    store = backups.stores_of(layout_of(stack)).store
    client = store.client()
    folder = Path(tempfile.mkdtemp())
    objects, gone = objects_module.copy_out(store, objects_module.list_objects(store), folder, QUIET)
    assert gone == []
    keys = [item.key for item in objects] + [objects_module.PROBE]
    for first in range(0, len(keys), 1000):
        doomed = [{"Key": key} for key in keys[first : first + 1000]]
        client.delete_objects(Bucket=store.bucket, Delete={"Objects": doomed})
    client.delete_bucket(Bucket=store.bucket)
    try:
        yield
    finally:
        client.create_bucket(Bucket=store.bucket)
        objects_module.copy_in(store, objects, folder, QUIET)
        shutil.rmtree(folder)


@contextmanager
def full_store(stack: Stack) -> Iterator[None]:
    """The store reads, and takes nothing more: what its own quota does to a bucket that is over it."""
    paths, layout = Paths(stack.state_dir), layout_of(stack)
    rule = "fs.configure -locationPrefix=/buckets/mlflow"
    weed_shell(paths, layout, "lock", f"{rule} -readOnly -apply", "unlock")
    try:
        yield
    finally:
        weed_shell(paths, layout, "lock", f"{rule} -delete -apply", "unlock")


@dataclass(frozen=True)
class Trouble:
    begin: Callable[[Stack], Any]
    reads: bool
    days: int


@pytest.mark.parametrize(
    "trouble",
    [Trouble(wrong_keys, False, 30), Trouble(lost_bucket, False, 32), Trouble(full_store, True, 34)],
    ids=lambda trouble: trouble.begin.__name__,
)
def test_a_store_that_fails_leaves_nothing_half_done_and_the_same_run_goes_on(
    second: Stack, services: Services, trouble: Trouble
) -> None:
    registry, ledger = services.registry, services.ledger
    former = registry.champion(SPEC.name)
    # So that there is a way back, whatever other tests rolled away from.
    champion = promote_as_of(services, SPEC, DATES[former == 1]).version
    assert champion is not None
    trained_before = train(services, SPEC, MIDNIGHT - timedelta(days=trouble.days))
    events, versions = ledger.history(SPEC.name), registry.versions(SPEC.name)
    register_run, train_run = new_run(), new_run()

    def train_now() -> TrainedRun:
        return train_model(
            SPEC, services.settings, MIDNIGHT - timedelta(days=trouble.days + 1), {}, train_run
        )

    def register(trained: TrainedRun) -> int:
        return register_module.register_version(services, SPEC, trained.run_id, register_run)

    with trouble.begin(second):
        with pytest.raises(Outage, match="logging the training of toy-copied: MLflow failed"):
            train_now()
        with pytest.raises(Outage, match="toy-copied v"):
            register(trained_before)
        if not trouble.reads:
            with pytest.raises(Outage, match="downloading toy-copied v"):
                roll_back(services, SPEC, former)
        recorded = [event.event for event in ledger.history(SPEC.name)[len(events) :]]
        assert recorded == []
        assert registry.champion(SPEC.name) == champion
    check_bytes(services, events, SPEC.name, champion)
    number = register(trained_before)
    assert number == versions[0].number + 1
    assert register(train_now()) == number + 1
    for new in (number, number + 1):
        check_bytes(services, ledger.history(SPEC.name), SPEC.name, new)
    assert [version.number for version in registry.versions(SPEC.name)] == list(range(number + 1, 0, -1))
    assert alias_differences(services, SPEC.name) == []


@pytest.fixture
def big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSpec]:
    """A model of 1.2 GB; what is made on the way goes to a folder that is removed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    write_number_rows(tmp_path)
    data = {**NUMBER_TOY["data"], "source": str(tmp_path / "numbers.csv")}
    code = {"trainer": "support.big_line:train", "code": [str(SCRIPT)]}
    yield ModelSpec.model_validate({**NUMBER_TOY, **code, "name": "toy-big", "data": data})
    shutil.rmtree(tmp_path)


@pytest.mark.usefixtures("fresh_process")
def test_mlflow_killed_while_600_megabytes_are_uploaded(
    second: Stack, services: Services, big: ModelSpec
) -> None:
    run = new_run()

    def train_big(told: Any, multipart: str) -> None:
        # false: all bytes go through MLflow. true, as its server suggests: in parts, past it.
        os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = multipart
        try:
            told.send(train_model(big, services.settings, FIRST, {}, run).run_id)
        except Outage as error:
            told.send(error)

    first = Watched(second, train_big, "false")
    first.wait_until(lambda: any(path.stat().st_size > 200 * MIB for path in arriving(second)))
    left_behind = [path.parent for path in arriving(second)]
    for process in mlflow_processes(second):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    said = first.come_out()
    for folder in left_behind:
        shutil.rmtree(folder)
    assert isinstance(said, Outage), said
    assert "logging the training of toy-big" in str(said)
    second.start_part("mlflow")
    (experiment,) = raw(services.registry).search_experiments(filter_string="name = 'toy-big'")
    (half,) = raw(services.registry).search_runs([experiment.experiment_id])
    with pytest.raises(NotFound, match="is not a finished training run of toy-big"):
        register_module.run_to_take(
            services, big.name, {"mlflow_run": half.info.run_id, "version": None, "profile": None}
        )

    again = Watched(second, train_big, "true")
    trained = again.come_out()
    assert isinstance(trained, str), trained
    assert trained != half.info.run_id
    assert register_module.register_version(services, big, trained, run) == 1
    files = manifest_of(services.ledger.history(big.name), big.name, 1).files
    (weights,) = [file for file in files if file.path.endswith("weights.bin")]
    assert (weights.size, weights.sha256) == big_line.weights_are()
    grown = [(watched.client_mib, watched.server_mib) for watched in (first, again)]
    print("client and MLflow grew by MiB:", grown)
    assert max(max(pair) for pair in grown) < 200


class Watched:
    """A child process at work; by how much memory it and MLflow grew while it was, in MiB."""

    def __init__(self, stack: Stack, work: Callable[[Any, str], None], argument: str) -> None:
        context = multiprocessing.get_context("fork")
        self._told, telling = context.Pipe()
        self._servers = mlflow_processes(stack)
        self._child = context.Process(target=work, args=(telling, argument))
        self._child.start()
        self._client = psutil.Process(self._child.pid)
        self._before = rss([self._client]), rss(self._servers)
        self.client_mib = self.server_mib = 0.0

    def wait_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            assert time.monotonic() < deadline
            self.client_mib = max(self.client_mib, rss([self._client]) - self._before[0])
            self.server_mib = max(self.server_mib, rss(self._servers) - self._before[1])
            time.sleep(0.05)

    def come_out(self) -> Any:
        """Return what the child told at its end."""
        self.wait_until(lambda: self._told.poll(0) or not self._child.is_alive())
        told = self._told.recv()
        self._child.join()
        return told


def arriving(stack: Stack) -> list[Path]:
    """The files of an upload that MLflow writes before it hands them on to the store."""
    found = []
    for process in mlflow_processes(stack):
        with suppress(psutil.NoSuchProcess):
            found += [Path(file.path) for file in process.open_files() if file.path.endswith("weights.bin")]
    return found


def mlflow_processes(stack: Stack) -> list[psutil.Process]:
    root = psutil.Process(control.status(Paths(stack.state_dir))[Part.MLFLOW].pid)
    return [root, *root.children(recursive=True)]


def rss(processes: list[psutil.Process]) -> float:
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / MIB


def test_postgres_killed_in_the_middle_of_a_run(
    killed_run: LifecycleRun, approver: AirflowClient, stack_services: Services
) -> None:
    while_away(lambda: killed_run.approve(approver))
    assert while_away(killed_run.wait_for_end) == "success"
    story = [event for event, _, _ in events_of(stack_services, "toy-killed")]
    assert story[-1] == "promoted"
    for once in ("registered", "approval_requested", "approved", "promotion_started", "promoted"):
        assert story.count(once) == 1
    registry, ledger = stack_services.registry, stack_services.ledger
    assert [version.number for version in registry.versions("toy-killed")] == [1]
    assert registry.champion("toy-killed") == 1
    assert alias_differences(stack_services, "toy-killed") == []
    assert walk(ledger.record(), told_heads(stack_services, registry.models())).difference is None


def while_away(ask: Callable[[], Any]) -> Any:
    """Ask Airflow again while it does not answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except Outage:
            assert time.monotonic() < deadline
            time.sleep(0.5)
