"""How a trained model becomes files in MLflow, and answers before it is there.

A scikit-learn estimator is saved by skops. Any other model is code and files (MLflow's models from code): a
script that is run when the model is loaded, and the files that the trainer wrote. Neither is a pickle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc import PyFuncModel

from podium.errors import TrainerError
from podium.registry.example import EXAMPLE_OUTPUT, example_output
from podium.registry.model_files import load_model, without_skops_noise

INPUT_EXAMPLE_ROWS = 5

Answer = Callable[[pd.DataFrame], Any]


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
class Usable:
    """A trained model that can be asked before it is in MLflow.

    Attributes:
        model: As the trainer returned it.
        answer: From input rows to the array that clients will get.
        classes: The labels in the order of the answer's columns; none unless it classifies.
        loaded: One from code, as a client loads it.
    """

    model: Any
    answer: Answer
    classes: tuple[str, ...]
    loaded: PyFuncModel | None = None


@contextmanager
def usable(model: Any, *, classifies: bool, requirements: Sequence[str]) -> Iterator[Usable]:
    """Hold a trained model ready to answer; one from code is saved and loaded as a client would."""
    if not isinstance(model, FromCode):
        classes = tuple(map(str, getattr(model, "classes_", ()))) if classifies else ()
        yield Usable(model, model.predict_proba if classifies else model.predict, classes)
        return
    with TemporaryDirectory(prefix="podium-") as folder:
        path = Path(folder) / "model"
        mlflow.pyfunc.save_model(
            str(path),
            python_model=str(model.script),
            artifacts=_paths(model),
            pip_requirements=list(requirements),
        )
        loaded = load_model(path)
        yield Usable(model, loaded.predict, tuple(model.classes), loaded)


def log_model(
    trained: Usable, inputs: pd.DataFrame, requirements: Sequence[str], skops_trusted_types: Sequence[str]
) -> None:
    """Log a model to the active run, with its signature, and an input example that it can be proved by later.

    Args:
        trained: The model.
        inputs: Rows that it was trained on; the first are the example.
        requirements: What it needs to load, pinned.
        skops_trusted_types: Types that a saved estimator may hold beyond scikit-learn's usual ones.
    """
    flavor, arguments = _for_mlflow(trained, inputs, requirements, skops_trusted_types)
    with _saving_skops():
        flavor.log_model(name="model", **arguments)


def save_model(
    folder: Path,
    trained: Usable,
    inputs: pd.DataFrame,
    requirements: Sequence[str],
    skops_trusted_types: Sequence[str],
) -> None:
    """Save a model to a new folder, as ``log_model`` logs it."""
    flavor, arguments = _for_mlflow(trained, inputs, requirements, skops_trusted_types)
    with _saving_skops():
        flavor.save_model(path=str(folder), **arguments)


@contextmanager
def _saving_skops() -> Iterator[None]:
    """Tell a model that holds types nobody trusts from an MLflow that does not answer: it raises the same.

    Raises:
        TrainerError: Names the types.
    """
    try:
        with without_skops_noise():
            yield
    except MlflowException as error:
        # https://github.com/skops-dev/skops/blob/v0.16.0/skops/io/exceptions.py
        if found := re.search(r"Untrusted types found in the file: \[(.*?)\]", error.message):
            raise TrainerError(
                f"the model holds types that skops does not trust by itself: {found[1]}. Review them, and "
                "list them in the model file under skops_trusted_types"
            ) from error
        raise


def _for_mlflow(
    trained: Usable, inputs: pd.DataFrame, requirements: Sequence[str], skops_trusted_types: Sequence[str]
) -> tuple[ModuleType, dict[str, Any]]:
    """Return the part of MLflow that saves a model, and what it has to be told."""
    example = inputs.head(INPUT_EXAMPLE_ROWS)
    output = np.asarray(trained.answer(example))
    given = trained.model.signature if isinstance(trained.model, FromCode) else None
    common = {
        "signature": given or infer_signature(example, output),
        "input_example": example,
        "pip_requirements": list(requirements),
        "metadata": {"classes": list(trained.classes), EXAMPLE_OUTPUT: example_output(output)},
    }
    if isinstance(trained.model, FromCode):
        script, artifacts = str(trained.model.script), _paths(trained.model)
        return mlflow.pyfunc, {"python_model": script, "artifacts": artifacts, **common}
    return mlflow.sklearn, {
        "sk_model": trained.model,
        "serialization_format": "skops",
        "skops_trusted_types": list(skops_trusted_types),
        "pyfunc_predict_fn": "predict_proba" if trained.classes else "predict",
        **common,
    }


def _paths(model: FromCode) -> dict[str, str]:
    return {name: str(path) for name, path in model.artifacts.items()}
