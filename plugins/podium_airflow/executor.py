"""The executor of the embedded stack: LocalExecutor, with the large libraries loaded before it forks.

Each task is a process that a worker forks, and the scheduler forks the workers. What the scheduler has
imported, no task has to: up to five seconds of processor time, more than most tasks need for their work.

Workers of a scheduler that was killed finish the task that they have and end; LocalExecutor's own would wait
for a next one for ever.

The end of a process whose task was started again meanwhile is kept from the scheduler, which would take it
for the end of the new one.

Only libraries are loaded here, nothing of Podium and no trainer: an edited one counts from the next task on.
A library that is installed anew counts, like Airflow itself, when the scheduler is started again.
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from airflow.executors.local_executor import LocalExecutor
from airflow.sdk import Asset, TaskInstanceState

# None of them starts a Python thread while it is imported (a test looks): a lock that such a thread holds
# would stay locked in every task. OpenBLAS and Arrow have threads of their own, and handle forks themselves.
# Some are private: https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/tracing
# https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/tracking
# https://github.com/pandera-dev/pandera/tree/v0.35.0/pandera/backends
LIBRARIES = (
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.tracing.processor.otel",
    "mlflow.tracking.request_header.registry",
    "pandas",
    "pandera.backends.pandas.register",
    "pandera.pandas",
    "pyarrow.parquet",
    "sqlalchemy.dialects.postgresql.psycopg2",
)
_FORKS_TO_A_TASK = 2
_LOOK_SECONDS = 5.0


class TasksOfThisProcess:
    """A queue from one process to those that it forks; it has ended for them when that process has.

    It has what LocalExecutor uses of ``multiprocessing.SimpleQueue``.
    """

    def __init__(self) -> None:
        self._made_by = os.getpid()
        self._out, self._in = multiprocessing.Pipe(duplex=False)
        self._taking = multiprocessing.Lock()

    def put(self, task: Any) -> None:
        """Add a task; only the process that made the queue does."""
        self._in.send(task)

    def get(self) -> Any:
        """Return the next task; asks now and then whether anybody is there to put one.

        Raises:
            EOFError: Nobody is.
        """
        while os.getppid() == self._made_by:
            if self._out.poll(_LOOK_SECONDS):
                with self._taking:
                    # Another worker may have been faster.
                    if self._out.poll(0):
                        return self._out.recv()
        raise EOFError

    def empty(self) -> bool:
        """Whether no task waits."""
        return not self._out.poll()

    def close(self) -> None:
        """Take and give no more."""
        self._out.close()
        self._in.close()


class PreloadingLocalExecutor(LocalExecutor):
    """LocalExecutor whose tasks find the large libraries loaded; plain where tasks are not forked (macOS)."""

    activity_queue: Any

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._on_their_way: Counter[Any] = Counter()

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        """Give tasks to the workers."""
        self._on_their_way.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: bool = True) -> None:
        """Tell the scheduler how a process came out, unless its task was given to the workers again.

        An approval that is answered as soon as it waits is queued again before the end of its first process
        is told. Airflow takes that for the end of the second, which it fails and tries again seconds later:
        https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/jobs/scheduler_job_runner.py
        """
        if state in (TaskInstanceState.SUCCESS, TaskInstanceState.FAILED):
            self._on_their_way[key] -= 1
            if self._on_their_way[key] > 0:
                return
            del self._on_their_way[key]
        super().change_state(key, state, info, remove_running)

    # `is_mp_using_fork` and how workers are started are private:
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/executors/local_executor.py
    def start(self) -> None:
        """Load the libraries, then start the workers. Only the scheduler calls this."""
        if self.is_mp_using_fork:
            load_libraries()
        super().start()

    def _spawn_workers_with_gc_freeze(self, spawn_number: int) -> None:
        """Give the workers a queue that ends with the scheduler; later workers, for dead ones, the same."""
        if not isinstance(self.activity_queue, TasksOfThisProcess):
            # Of the start: nothing is in it yet.
            self.activity_queue = TasksOfThisProcess()
        super()._spawn_workers_with_gc_freeze(spawn_number)


def load_libraries() -> None:
    """Import what tasks need, and keep them from sharing its random numbers."""
    _load_skops()
    for name in LIBRARIES:
        importlib.import_module(name)
    from mlflow.utils.requirements_utils import _init_modules_to_packages_map

    # What packages there are, which MLflow asks at the first model of a process. Private to it:
    # https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/utils/requirements_utils.py
    _init_modules_to_packages_map()
    # The first asset of a process loads what all providers know of assets, boto3 too; each task makes some.
    Asset(name="podium", uri="podium://podium")
    _reseed_numpy_in_tasks()


def _load_skops() -> None:
    """Import skops without its noise, and first: it asks every loaded module for every NumPy ufunc."""
    importlib.import_module("sklearn")
    with warnings.catch_warnings():
        # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/utils/deprecation_tools.py
        warnings.filterwarnings("ignore", message=r"The `airflow\.")
        importlib.import_module("skops.io")


def _reseed_numpy_in_tasks() -> None:
    """Give each task a NumPy random state of its own, as if it had imported NumPy itself.

    Python's own is reseeded at each fork. What a task forks in turn starts with the task's state, as ever.
    """
    import numpy as np

    forks = itertools.count(1)

    def reseed() -> None:
        if next(forks) <= _FORKS_TO_A_TASK:
            np.random.seed()

    os.register_at_fork(after_in_child=reseed)
