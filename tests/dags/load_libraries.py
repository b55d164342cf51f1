"""Load the libraries and fork as the stack's scheduler does; print what was seen as one line of JSON."""

import json
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from airflow.executors.executor_loader import ExecutorLoader
from airflow.executors.local_executor import LocalExecutor
from airflow.sdk import TaskInstanceState

HEAVY = {"mlflow", "pandas", "numpy", "sklearn", "matplotlib", "skops", "scipy", "pyarrow"}


def loaded() -> list[str]:
    """Name what is loaded of the large libraries."""
    return sorted(HEAVY & set(sys.modules))


def start(*, fork: bool) -> None:
    """Start the executor, without its workers."""
    with patch.object(LocalExecutor, "start"):
        made = executor()
        made.is_mp_using_fork = fork
        made.start()


def tasks_wait_for_later_workers() -> bool:
    """Start workers again while a task waits, as when one has died; tells whether they would find it."""
    made = executor()
    made.activity_queue, made.workers = multiprocessing.SimpleQueue(), {}
    made._spawn_workers_with_gc_freeze(0)
    made.activity_queue.put("a task")
    made._spawn_workers_with_gc_freeze(0)
    return not made.activity_queue.empty()


def told_of_an_approval_answered_at_once() -> list[list[str]]:
    """Give a task to the workers twice; return the events after the end of each process."""
    made = executor()
    made.activity_queue, made.result_queue = multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue()
    made.workers, made._unread_messages = {}, multiprocessing.Value("I")
    told = []
    with patch.object(LocalExecutor, "_check_workers"):
        for _ in range(2):
            made.queued_tasks["approve"] = SimpleNamespace(key="approve")
            made._process_workloads([*made.queued_tasks.values()])
        for _ in range(2):
            made.result_queue.put(("approve", TaskInstanceState.SUCCESS, None))
            made.sync()
            told.append([*made.get_event_buffer()])
    return told


def in_child(ask: Callable[[], object]) -> object:
    """Fork, and return what the child answers."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, json.dumps(ask()).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(reader, 65536))


def task() -> dict[str, object]:
    """Say what a task sees: its threads (all of the process, where the system tells), its random numbers."""
    import numpy as np

    listed = Path("/proc/self/task")
    return {
        "threads": len(list(listed.iterdir())) if listed.is_dir() else threading.active_count(),
        "allocator": sys.modules["pyarrow"].default_memory_pool().backend_name,
        "forked": in_child(np.random.random),
        "random": np.random.random(),
        "product": float((np.ones((300, 300)) @ np.ones((300, 300)))[0, 0]),
    }


# What the scheduler has loaded, the lazy modules among it too.
import_module("airflow.jobs.scheduler_job_runner")
executor, _ = ExecutorLoader.import_default_executor_cls()
seen: dict[str, object] = {"executor": executor.__name__, "when_imported": loaded()}
start(fork=False)
seen["when_started_without_fork"] = loaded()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    start(fork=True)
seen |= {
    "warnings_of_airflow": [str(item.message) for item in caught if "airflow" in str(item.message)][:3],
    "when_started": loaded(),
    "ours": sorted(name for name in sys.modules if name.partition(".")[0] in ("podium", "trainers")),
    "python_threads": [thread.name for thread in threading.enumerate()],
    "told_of_an_approval_answered_at_once": told_of_an_approval_answered_at_once(),
    "tasks_wait": tasks_wait_for_later_workers(),
    "tasks": in_child(lambda: [in_child(task), in_child(task)]),
}
print(json.dumps(seen))
