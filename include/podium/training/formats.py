"""How a model of each flavour becomes files: as data wherever its library can, else as a trusted pickle.

Each is saved by MLflow's own flavour, so that everybody's tools load it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.models.utils import _save_example
from mlflow.types import Schema, TensorSpec

from podium.errors import TrainerError
from podium.model_file.user_code import is_project_code
from podium.registry.flavours import Flavour

# What a package index calls the packages that a flavour needs to load; one of each is enough.
NEEDS: Mapping[Flavour, tuple[tuple[str, ...], ...]] = {
    Flavour.LIGHTGBM: (("lightgbm",),),
    Flavour.XGBOOST: (("xgboost", "xgboost-cpu"),),
    Flavour.CATBOOST: (("catboost",),),
    Flavour.STATSMODELS: (("statsmodels",),),
    Flavour.PYTORCH: (("torch",),),
    Flavour.KERAS: (("keras",), ("torch", "jax", "tensorflow", "tensorflow-cpu")),
    Flavour.ONNX: (("onnx",), ("onnxruntime", "onnxruntime-gpu")),
}


@dataclass(frozen=True)
class FromCode:
    """A model that is code and files.

    Attributes:
        script: A Python file that ends with ``mlflow.models.set_model(...)`` of a
            ``mlflow.pyfunc.PythonModel``; the model file names it under ``code``. It may import what
            ``requirements`` names, and nothing of this project.
        artifacts: Files and folders by name; the model finds them in ``context.artifacts``.
        classes: Of a classification: the labels in the order of the columns that ``predict`` answers with.
        signature: What cannot be read off the input example, such as the params of ``predict``.
    """

    script: Path
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    classes: Sequence[str] = ()
    signature: ModelSignature | None = None


@dataclass(frozen=True)
class Described:
    """What is saved with a model of any flavour.

    Attributes:
        signature: Its columns and its answer.
        example: Rows as clients send them.
        requirements: What it needs to load, pinned.
        metadata: What Podium asks of it later.
        skops_trusted_types: Types that a saved estimator may hold beyond the usual ones.
        classifies: It answers with probabilities.
        pickle: Why it is trusted although it is a pickle; "" if it must not be one.
    """

    signature: ModelSignature
    example: pd.DataFrame
    requirements: Sequence[str]
    metadata: Mapping[str, Any]
    skops_trusted_types: Sequence[str]
    classifies: bool
    pickle: str

    def for_mlflow(self) -> dict[str, Any]:
        """Return it as arguments of MLflow's flavours."""
        return {
            "signature": self.signature,
            "input_example": self.example,
            "pip_requirements": list(self.requirements),
            "metadata": dict(self.metadata),
        }


def needs_pickle(model: Any, flavour: Flavour) -> bool:
    """Tell whether a model can only be saved as a pickle."""
    if flavour is Flavour.PYFUNC:
        return not isinstance(model, FromCode)
    return flavour is Flavour.STATSMODELS or (flavour is Flavour.PYTORCH and _is_torch_script(model))


def is_pickled(model: Any, flavour: Flavour, trusted: str) -> bool:
    """Tell whether a model is saved as a pickle: also a network, where the model file says why it may be."""
    return needs_pickle(model, flavour) or (flavour is Flavour.PYTORCH and bool(trusted))


def write_model(folder: Path, model: Any, flavour: Flavour, described: Described) -> None:
    """Save a model to a new folder by MLflow's own flavour.

    Raises:
        TrainerError: A network cannot be exported as data.
    """
    if isinstance(model, FromCode):
        _write_code(folder, model, described)
    else:
        _WRITERS[flavour](folder, model, described)


def write_to_ask(folder: Path, model: Any, requirements: Sequence[str]) -> None:
    """Save a pyfunc as it is, only to ask it."""
    kept = {"path": str(folder), "pip_requirements": list(requirements)}
    if isinstance(model, FromCode):
        mlflow.pyfunc.save_model(python_model=str(model.script), artifacts=_paths(model), **kept)
        return
    with _with_its_code([model]):
        mlflow.pyfunc.save_model(python_model=model, **kept)


def _write_code(folder: Path, model: FromCode, described: Described) -> None:
    mlflow.pyfunc.save_model(
        path=str(folder),
        python_model=str(model.script),
        artifacts=_paths(model),
        **described.for_mlflow(),
    )


def _paths(model: FromCode) -> dict[str, str]:
    return {name: str(path) for name, path in model.artifacts.items()}


def _write_sklearn(folder: Path, model: Any, described: Described) -> None:
    mlflow.sklearn.save_model(
        sk_model=model,
        path=str(folder),
        serialization_format="skops",
        skops_trusted_types=list(described.skops_trusted_types),
        pyfunc_predict_fn="predict_proba" if described.classifies else "predict",
        **described.for_mlflow(),
    )


def _write_lightgbm(folder: Path, model: Any, described: Described) -> None:
    """Write a Booster as LightGBM's own text file, a wrapper of scikit-learn by skops."""
    mlflow.lightgbm.save_model(
        model,
        str(folder),
        serialization_format="skops",
        skops_trusted_types=list(described.skops_trusted_types),
        **described.for_mlflow(),
    )


def _write_xgboost(folder: Path, model: Any, described: Described) -> None:
    mlflow.xgboost.save_model(model, str(folder), model_format="ubj", **described.for_mlflow())


def _write_catboost(folder: Path, model: Any, described: Described) -> None:
    mlflow.catboost.save_model(model, str(folder), format="cbm", **described.for_mlflow())


def _write_statsmodels(folder: Path, model: Any, described: Described) -> None:
    mlflow.statsmodels.save_model(model, str(folder), **described.for_mlflow())


def _write_onnx(folder: Path, model: Any, described: Described) -> None:
    mlflow.onnx.save_model(
        model,
        str(folder),
        onnx_execution_providers=["CPUExecutionProvider"],
        # It would take the weights out of the trainer's model.
        save_as_external_data=False,
        **described.for_mlflow(),
    )


def _write_keras(folder: Path, model: Any, described: Described) -> None:
    tensors = _tensors(described)
    mlflow.keras.save_model(
        model, str(folder), **{**described.for_mlflow(), **tensors, "input_example": None}
    )
    _describe_by_columns(folder, described)


def _write_pytorch(folder: Path, model: Any, described: Described) -> None:
    if is_pickled(model, Flavour.PYTORCH, described.pickle):
        with _with_its_code(model.modules()):
            arguments = described.for_mlflow()
            mlflow.pytorch.save_model(model, str(folder), serialization_format="pickle", **arguments)
        return
    arguments = {**described.for_mlflow(), **_tensors(described)}
    try:
        mlflow.pytorch.save_model(model, str(folder), serialization_format="pt2", **arguments)
    # PyTorch's export has a dozen kinds of errors, and no class of its own.
    except Exception as error:
        raise TrainerError(
            f"the network cannot be exported (torch.export): {_first_line(error)}. Change its forward, or "
            "write in the model file why it is trusted as a pickle: `pickle: ...`"
        ) from error
    _describe_by_columns(folder, described)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _tensors(described: Described) -> dict[str, Any]:
    """Return rows as one tensor with a free batch dimension, which PyTorch and Keras want to be told of.

    PyTorch takes a batch of a single row for a constant.
    """
    rows = np.array(described.example, dtype=np.float32)
    rows = np.concatenate([rows, rows]) if len(rows) == 1 else rows
    taken = Schema([TensorSpec(np.dtype(np.float32), (-1, rows.shape[1]))])
    signature = ModelSignature(inputs=taken, outputs=described.signature.outputs)
    return {"signature": signature, "input_example": rows}


def _describe_by_columns(folder: Path, described: Described) -> None:
    """Write the columns by name, as for every other model, over the tensor that MLflow's flavour wants."""
    saved = Model.load(str(folder))
    saved.signature = described.signature
    # https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/models/utils.py
    _save_example(saved, described.example, str(folder))
    saved.save(str(folder / MLMODEL_FILE_NAME))


def _is_torch_script(model: Any) -> bool:
    return any(kind.__module__.startswith("torch.jit") for kind in type(model).__mro__)


@contextmanager
def _with_its_code(objects: Any) -> Iterator[None]:
    """Pickle the classes of objects by their code, not by name, where they are code of the project."""
    names = {type(one).__module__ for one in objects}
    modules = [sys.modules[name] for name in names if name != "__main__" and is_project_code(name)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _write_pyfunc(folder: Path, model: Any, described: Described) -> None:
    with _with_its_code([model]):
        mlflow.pyfunc.save_model(path=str(folder), python_model=model, **described.for_mlflow())


_WRITERS: Mapping[Flavour, Callable[[Path, Any, Described], None]] = {
    Flavour.SKLEARN: _write_sklearn,
    Flavour.LIGHTGBM: _write_lightgbm,
    Flavour.XGBOOST: _write_xgboost,
    Flavour.CATBOOST: _write_catboost,
    Flavour.STATSMODELS: _write_statsmodels,
    Flavour.PYTORCH: _write_pytorch,
    Flavour.KERAS: _write_keras,
    Flavour.ONNX: _write_onnx,
    Flavour.PYFUNC: _write_pyfunc,
}
