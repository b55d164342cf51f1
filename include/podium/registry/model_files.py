"""The files of a model: download, load, read the signature."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from podium.registry import flavours

_LOADING = threading.Lock()


def download_files(name: str, folder: Path) -> None:
    """Copy the files of what MLflow calls ``models:/NAME``, a version or a logged model, into a folder."""
    mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}", dst_path=str(folder))
    # MLflow writes this one on our side; it is no file of the model. The name is private to it:
    # https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/artifact/models_artifact_repo.py
    (folder / REGISTERED_MODEL_META_FILE_NAME).unlink(missing_ok=True)


def load_model(folder: Path) -> PyFuncModel:
    """Load a model from a folder of verified files (``podium.versions.verified``).

    One at a time: MLflow hands a model from code over in a global variable, so two threads that load at once
    could get each other's.
    """
    with _LOADING, without_skops_noise():
        return flavours.load(str(folder))


def read_signature(folder: Path) -> dict[str, Any]:
    """Return the signature of the model in a folder, as MLflow's ``ModelSignature.to_dict`` gives it."""
    signature = Model.load(str(folder)).signature
    return {} if signature is None else dict(signature.to_dict())


@contextmanager
def without_skops_noise() -> Iterator[None]:
    """Keep a task log readable while skops saves or loads.

    skops asks every loaded module for every NumPy ufunc, and Airflow's lazy modules warn at each question:
    about 1,300 lines.
    """
    with warnings.catch_warnings():
        # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/utils/deprecation_tools.py
        warnings.filterwarnings("ignore", message=r"The `airflow\.")
        yield
