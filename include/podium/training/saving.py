"""How a trained model becomes files in MLflow, and answers before it is there.

A scikit-learn estimator is saved by skops. Any other model is code and files (MLflow's models from code): a
script that is run when the model is loaded, and the files that the trainer wrote. Neither is a pickle.
"""

from __future__ import annotations

import json
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
from podium.registry.example import EXAMPLE_OUTPUT, example_output, load_skops
from podium.registry.model_files import load_model, without_skops_noise
from podium.registry.proof import WAY_OUT, prove, refuse_open
from podium.training.input_types import as_clients_send, category_columns, flags_with_gaps

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
        predict: From rows as it was trained on to an array.
        classes: The labels in the order of the answer's columns; none unless it classifies.
        loaded: One from code, as a client loads it.
    """

    model: Any
    predict: Answer
    classes: tuple[str, ...]
    loaded: PyFuncModel | None = None

    def answer(self, inputs: pd.DataFrame) -> Any:
        """Return what clients will get for rows, an array: of categories they send what they hold.

        Raises:
            TrainerError: It takes categories, and not what clients send.
        """
        try:
            return self.predict(as_clients_send(inputs))
        except Exception as error:
            if not (categories := category_columns(inputs)):
                raise
            raise TrainerError(
                f"the model learned {', '.join(categories)} as categories, and cannot be asked with what "
                f"they hold, which is what clients send: {type(error).__name__}: {error}. Encode them in a "
                "step of the model"
            ) from error


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
) -> str:
    """Log a model to the active run, with its signature, and an input example that it can be proved by later.

    It is saved and proved before.

    Args:
        trained: The model.
        inputs: All rows that it was trained on; some of them are the example.
        requirements: What it needs to load, pinned.
        skops_trusted_types: Types that a saved estimator may hold beyond scikit-learn's usual ones.

    Returns:
        The id of MLflow's logged model.

    Raises:
        TrainerError: It cannot be saved, or is not proved.
    """
    flavor, arguments = _for_mlflow(trained, inputs, requirements, skops_trusted_types)
    with TemporaryDirectory(prefix="podium-") as folder:
        _save(Path(folder) / "model", trained, inputs, flavor, arguments)
    with _saving_skops():
        return str(flavor.log_model(name="model", **arguments).model_id)


def save_model(
    folder: Path,
    trained: Usable,
    inputs: pd.DataFrame,
    requirements: Sequence[str],
    skops_trusted_types: Sequence[str],
) -> None:
    """Save a model to a new folder and prove it there, as ``log_model`` logs it."""
    _save(folder, trained, inputs, *_for_mlflow(trained, inputs, requirements, skops_trusted_types))


def _save(
    folder: Path, trained: Usable, inputs: pd.DataFrame, flavor: ModuleType, arguments: Mapping[str, Any]
) -> None:
    with _saving_skops():
        if not isinstance(trained.model, FromCode):
            load_skops()
        flavor.save_model(path=str(folder), **arguments)
    with TemporaryDirectory(prefix="podium-") as gaps:
        prove(folder, _with_gaps(Path(gaps), trained, inputs))


def _with_gaps(folder: Path, trained: Usable, inputs: pd.DataFrame) -> Path | None:
    """Write rows with gaps among true and false, and their answers: MLflow's example cannot hold them."""
    sent = as_clients_send(inputs)
    if not (flags := flags_with_gaps(sent)):
        return None
    places = sorted({int(sent[name].isna().to_numpy().argmax()) for name in flags})
    answers = example_output(trained.predict(inputs.iloc[places]))
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    sent.iloc[places].to_parquet(folder / "rows.parquet", index=False)
    return folder


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
            refuse_open(re.findall(r"'([^']+)'", found[1]))
            raise TrainerError(
                f"the model holds types that skops does not trust by itself: {found[1]}. Review them, and "
                "list them in the model file under skops_trusted_types"
            ) from error
        if "could not be serialized in the skops" in error.message:
            why = error.__context__ or error
            raise TrainerError(
                f"the model cannot be saved: {why}. A lambda, or a function or class inside of another one, "
                f"cannot be found again by its name. {WAY_OUT}"
            ) from error
        raise


def _for_mlflow(
    trained: Usable, inputs: pd.DataFrame, requirements: Sequence[str], skops_trusted_types: Sequence[str]
) -> tuple[ModuleType, dict[str, Any]]:
    """Return the part of MLflow that saves a model, and what it has to be told."""
    example = _example(inputs)
    # As the trainer had the rows: the proof asks with the same rows as clients send them.
    output = np.asarray(trained.predict(example))
    given = trained.model.signature if isinstance(trained.model, FromCode) else None
    common = {
        "signature": given or infer_signature(_kinds_of(as_clients_send(inputs)), output),
        "input_example": as_clients_send(example),
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


def _example(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the first rows, and of each column with gaps the first one that has one; moments in seconds."""
    first_gaps = {int(gaps.argmax()) for gaps in inputs.isna().to_numpy().T if gaps.any()}
    places = sorted({*range(min(INPUT_EXAMPLE_ROWS, len(inputs))), *sorted(first_gaps)[:INPUT_EXAMPLE_ROWS]})
    rows = inputs.iloc[places].copy()
    for name in rows.select_dtypes("datetime"):
        # MLflow cannot read its own example where some moments have parts of a second and others have none.
        rows[name] = rows[name].dt.floor("s")
    for name in flags_with_gaps(inputs):
        # It would read a gap there as false.
        rows[name] = [bool(value) for value in rows[name]]
    return rows


def _kinds_of(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return two rows that MLflow reads the same signature off as off all: it would look at each value.

    Each column has a value, and a gap if it has one anywhere. Lists and mappings are all looked at.
    """
    flags = flags_with_gaps(inputs)
    if any(kind == np.object_ and name not in flags for name, kind in inputs.dtypes.items()):
        return inputs
    return pd.DataFrame({name: _value_and_gap(inputs[name]) for name in inputs})


def _value_and_gap(column: pd.Series) -> pd.Series:
    gaps = column.isna().to_numpy()
    return column.iloc[[int((~gaps).argmax()), int(gaps.argmax())]].reset_index(drop=True)


def _paths(model: FromCode) -> dict[str, str]:
    return {name: str(path) for name, path in model.artifacts.items()}
