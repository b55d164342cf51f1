"""The executor of the embedded stack: LocalExecutor, with the large libraries loaded before it forks.

Each task is a process that a worker forks, and the scheduler forks the workers. What the scheduler has
imported, no task has to: up to five seconds of processor time, more than most tasks need for their work.

Only libraries are loaded here, nothing of Podium and no trainer: an edited one counts from the next task on.
A library that is installed anew counts, like Airflow itself, when the scheduler is started again.
"""

from __future__ import annotations

import importlib
import itertools
import os
import warnings

from airflow.executors.local_executor import LocalExecutor
from airflow.sdk import Asset

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


class PreloadingLocalExecutor(LocalExecutor):
    """LocalExecutor whose tasks find the large libraries loaded; plain where tasks are not forked (macOS)."""

    # `is_mp_using_fork` is private: https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/executors/local_executor.py
    def start(self) -> None:
        """Load the libraries, then start the workers. Only the scheduler calls this."""
        if self.is_mp_using_fork:
            load_libraries()
        super().start()


def load_libraries() -> None:
    """Import what tasks need, and keep them from sharing its random numbers."""
    _load_skops()
    for name in LIBRARIES:
        importlib.import_module(name)
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
