"""The files of a model: download, load, read the signature."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from podium.model_file.extras import how_to_install
from podium.registry import flavours
from podium.registry.flavours import Flavour
from podium.registry.pickles import pickles_in

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

    Raises:
        ModuleNotFoundError: It needs a package that is not installed; says how to install it.
    """
    try:
        with _LOADING, without_skops_noise():
            return flavours.load(str(folder))
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}{how_to_install(error.name)}", name=error.name) from error


def read_signature(folder: Path) -> dict[str, Any]:
    """Return the signature of the model in a folder, as MLflow's ``ModelSignature.to_dict`` gives it."""
    signature = Model.load(str(folder)).signature
    return {} if signature is None else dict(signature.to_dict())


def trusted_pickle(folder: Path) -> str:
    """Return why the pickle in a folder is trusted, as it was trained; "" if it is none."""
    return str((Model.load(str(folder)).metadata or {}).get(flavours.PICKLE, ""))


def pickled_parts(folder: Path) -> list[str]:
    """Return the flavours and files of a saved model by which it runs code of a pickle when it is loaded."""
    saved = Model.load(str(folder)).flavors
    parts = [f"flavour {name}" for name, settings in saved.items() if _is_pickle(name, settings)]
    return parts + pickles_in(folder)


def _is_pickle(flavour: str, settings: Mapping[str, Any]) -> bool:
    if flavour == Flavour.SKLEARN:
        return settings.get("serialization_format") != "skops"
    return flavour == Flavour.STATSMODELS or "python_model" in settings


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
