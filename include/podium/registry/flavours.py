"""How a model of each of MLflow's flavours is asked: one way for the trainer's model and for the loaded one.

MLflow's own pyfunc of a booster or a network answers in as many shapes as there are libraries: labels, one
probability, a table with a row for each number. Here each answers with float64: a probability for each label,
in the order of the model's ``classes``, or one number a row. All that load a model load it here.

It needs MLflow alone, so that it can be run where nothing of the project can be imported (``proof``).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# Imported late: skops is to come before it.
if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

# In the metadata of each model that Podium saves: the labels in the order of its answers.
CLASSES = "classes"
# The same: why a model that only exists as a pickle is trusted.
PICKLE = "pickle"
# Imports PyTorch where it is installed; private to scikit-learn:
# https://github.com/scikit-learn/scikit-learn/tree/1.9.1/sklearn/externals/array_api_compat
_WITH_PYTORCH = "sklearn.externals.array_api_compat.torch"

Scores = npt.NDArray[np.float64]


class Flavour(StrEnum):
    """MLflow's name of what saves and loads a kind of model."""

    SKLEARN = "sklearn"
    LIGHTGBM = "lightgbm"
    XGBOOST = "xgboost"
    CATBOOST = "catboost"
    STATSMODELS = "statsmodels"
    PYTORCH = "pytorch"
    KERAS = "keras"
    ONNX = "onnx"
    PYFUNC = "python_function"


# The package of a model's class, or of a class that it inherits from; scikit-learn's is the rest.
_BY_PACKAGE = {
    "lightgbm": Flavour.LIGHTGBM,
    "xgboost": Flavour.XGBOOST,
    "catboost": Flavour.CATBOOST,
    "statsmodels": Flavour.STATSMODELS,
    "keras": Flavour.KERAS,
    "torch": Flavour.PYTORCH,
    "onnx": Flavour.ONNX,
    "mlflow": Flavour.PYFUNC,
}
# They compute with 32 bits: sums of other orders, as on other machines, differ sooner.
_OF_32_BITS = (Flavour.XGBOOST, Flavour.PYTORCH, Flavour.KERAS, Flavour.ONNX)


def flavour_of(model: object) -> Flavour:
    """Return the flavour of a model that a trainer returned, by its class; nothing is imported for it."""
    packages = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
    return next((_BY_PACKAGE[name] for name in packages if name in _BY_PACKAGE), Flavour.SKLEARN)


def tolerance(flavours: Mapping[str, Any]) -> tuple[float, float]:
    """Return the relative and the absolute difference that answers of a saved model may have."""
    return (1e-4, 1e-6) if any(flavour in flavours for flavour in _OF_32_BITS) else (1e-6, 1e-9)


def ask(model: Any, flavour: Flavour, inputs: pd.DataFrame, classes: Sequence[str]) -> Scores:
    """Ask a model of a library, as the library itself would.

    Args:
        model: As a trainer returns it, or as MLflow loads it.
        flavour: Its flavour; neither scikit-learn's nor a pyfunc.
        inputs: Rows with the model's input columns, in their order.
        classes: Of a classification the labels in the order of its answers; else none.

    Returns:
        Shape (rows, classes), probabilities; without classes (rows,).

    Raises:
        ValueError: It answers in another shape.
    """
    answer = np.asarray(_ASKS[flavour](model, inputs, classes), dtype=np.float64)
    return _scores(answer, len(inputs), len(classes))


def _scores(answer: Scores, rows: int, classes: int) -> Scores:
    if classes == 2 and answer.size == rows:
        second = answer.reshape(rows)
        return np.column_stack([1 - second, second])
    if answer.shape == (rows, classes):
        return answer
    if not classes and answer.size == rows:
        return answer.reshape(rows)
    wanted = f"{(rows, classes)}: a probability for each label" if classes else f"{(rows,)}: one number a row"
    raise ValueError(f"the model answers {rows} rows with shape {answer.shape}, not {wanted}")


def _by_lightgbm(model: Any, inputs: pd.DataFrame, classes: Sequence[str]) -> Any:
    return _of_wrapper(model, inputs, classes) if hasattr(model, "booster_") else model.predict(inputs)


def _by_xgboost(model: Any, inputs: pd.DataFrame, classes: Sequence[str]) -> Any:
    if hasattr(model, "get_booster"):
        return _of_wrapper(model, inputs, classes)
    from xgboost import DMatrix

    return model.predict(DMatrix(inputs if model.feature_names else inputs.to_numpy()))


def _of_wrapper(model: Any, inputs: pd.DataFrame, classes: Sequence[str]) -> Any:
    return model.predict_proba(inputs) if classes else model.predict(inputs)


def _by_catboost(model: Any, inputs: pd.DataFrame, classes: Sequence[str]) -> Any:
    return model.predict(inputs, prediction_type="Probability") if classes else model.predict(inputs)


def _by_statsmodels(model: Any, inputs: pd.DataFrame, _: Sequence[str]) -> Any:
    return model.predict(inputs)


def _by_pytorch(model: Any, inputs: pd.DataFrame, _: Sequence[str]) -> Any:
    import torch

    with torch.inference_mode():
        answer = model(torch.from_numpy(_of_32_bits(inputs)))
    if not isinstance(answer, torch.Tensor):
        raise ValueError(f"the model answers with {type(answer).__name__}, not with one tensor")
    return answer.numpy()


def _by_keras(model: Any, inputs: pd.DataFrame, _: Sequence[str]) -> Any:
    return model.predict_on_batch(_of_32_bits(inputs))


def _of_32_bits(inputs: pd.DataFrame) -> npt.NDArray[np.float32]:
    # PyTorch wants an array of its own, which it may write to.
    return np.array(inputs, dtype=np.float32, order="C")


def _by_onnx(model: Any, inputs: pd.DataFrame, classes: Sequence[str]) -> Any:
    """Feed one tensor with all columns, or a tensor a column; take the one output that can be the scores."""
    session = model if hasattr(model, "run") else _onnx_session(model)
    taken = session.get_inputs()
    if len(taken) == 1:
        feeds = {taken[0].name: inputs.to_numpy(dtype=_onnx_type(taken[0]))}
    else:
        feeds = {one.name: _onnx_column(inputs, one) for one in taken}
    outputs = dict(
        zip((output.name for output in session.get_outputs()), session.run(None, feeds), strict=True)
    )
    sizes = {len(inputs) * len(classes) or len(inputs), len(inputs) if len(classes) == 2 else -1}
    fits = {
        name: output
        for name, output in outputs.items()
        if isinstance(output, np.ndarray) and output.dtype.kind == "f" and output.size in sizes
    }
    if len(fits) != 1:
        kinds = {
            name: f"{output.dtype}{list(output.shape)}" if isinstance(output, np.ndarray) else "no tensor"
            for name, output in outputs.items()
        }
        raise ValueError(
            f"one output must be the numbers; for {len(inputs)} rows there are {kinds}. A converter of "
            "scikit-learn gives a tensor of probabilities with the option zipmap=False"
        )
    return next(iter(fits.values()))


def _onnx_session(model: Any) -> Any:
    from onnxruntime import InferenceSession

    return InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _onnx_column(inputs: pd.DataFrame, taken: Any) -> Any:
    if taken.name not in inputs:
        raise ValueError(f"the model takes {taken.name}, which is not among {', '.join(map(str, inputs))}")
    column = inputs[taken.name].to_numpy(dtype=_onnx_type(taken))
    return column.reshape(-1, 1) if len(taken.shape) == 2 else column


# The names are those of ONNX Runtime; what else there is, no client sends.
_ONNX_TYPES: dict[str, type] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


def _onnx_type(taken: Any) -> type:
    if taken.type not in _ONNX_TYPES:
        raise ValueError(f"the model takes {taken.name} as {taken.type}; allowed: {', '.join(_ONNX_TYPES)}")
    return _ONNX_TYPES[taken.type]


_ASKS: dict[Flavour, Callable[[Any, pd.DataFrame, Sequence[str]], Any]] = {
    Flavour.LIGHTGBM: _by_lightgbm,
    Flavour.XGBOOST: _by_xgboost,
    Flavour.CATBOOST: _by_catboost,
    Flavour.STATSMODELS: _by_statsmodels,
    Flavour.PYTORCH: _by_pytorch,
    Flavour.KERAS: _by_keras,
    Flavour.ONNX: _by_onnx,
}


class _Asked:
    """What MLflow's pyfunc asks in the place of its own wrapper of a library's model."""

    def __init__(self, model: Any, flavour: Flavour, classes: Sequence[str]) -> None:
        self._model, self._flavour, self._classes = model, flavour, classes

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Scores:  # noqa: ARG002 - MLflow's
        """Answer rows that MLflow brought to the signature's types."""
        return ask(self._model, self._flavour, model_input, self._classes)

    def get_raw_model(self) -> Any:
        """Return the library's model."""
        return self._model


def load(folder: str) -> PyFuncModel:
    """Load a model from a folder, so that it answers as ``ask`` does if Podium saved it.

    Raises whatever MLflow and the library raise.
    """
    import mlflow

    load_skops_for(Path(folder))
    flavours = mlflow.models.Model.load(folder).flavors
    if Flavour.KERAS in flavours:
        # Read when Keras is imported for the first time.
        os.environ.setdefault("KERAS_BACKEND", flavours[Flavour.KERAS].get("keras_backend", "tensorflow"))
    # A network is asked on the CPU, where it gives the same numbers on every machine.
    config = {"device": "cpu"} if Flavour.PYTORCH in flavours else None
    model = mlflow.pyfunc.load_model(folder, model_config=config)
    flavour = next((one for one in _ASKS if one in flavours), None)
    if flavour is None or CLASSES not in (model.metadata.metadata or {}):
        return model
    asked = _Asked(model.get_raw_model(), flavour, tuple(model.metadata.metadata[CLASSES]))
    # MLflow makes these itself: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/pyfunc/__init__.py
    loaded = mlflow.pyfunc.PyFuncModel(model_meta=model.metadata, model_impl=asked)
    loaded.input_example = model.input_example
    return loaded


def load_skops() -> None:
    """Import skops, which saves and loads scikit-learn models, without PyTorch: in half the time.

    skops imports all of scikit-learn, to know its estimators, and one part of that imports PyTorch. Then it
    looks for each NumPy ufunc in every loaded module: the sooner it is imported, the fewer there are.
    """
    if _WITH_PYTORCH in sys.modules:
        return
    # Python takes this for a module that cannot be imported, and scikit-learn passes over it.
    sys.modules[_WITH_PYTORCH] = None  # type: ignore[assignment]
    try:
        importlib.import_module("skops.io")
    finally:
        del sys.modules[_WITH_PYTORCH]


def load_skops_for(folder: Path) -> None:
    """Do so if a model is one that skops saved."""
    if any(folder.glob("*.skops")):
        load_skops()
