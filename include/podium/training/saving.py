"""How a trained model becomes files in MLflow, and answers before it is there.

MLflow's own flavour saves it (``formats``): an estimator by skops, a booster or a network as data of its
library. A model ``FromCode`` is a script, which is run when the model is loaded, and the trainer's files.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.pyfunc import PyFuncModel

from podium.errors import PodiumError, TrainerError
from podium.metrics.reference import Reference
from podium.metrics.reference_file import write_reference
from podium.registry.example import EXAMPLE_OUTPUT, equal, example_output
from podium.registry.flavours import CLASSES, PICKLE, Flavour, ask, flavour_of, load_skops, tolerance
from podium.registry.manifest import read_manifest
from podium.registry.model_files import load_model, without_skops_noise
from podium.registry.proof import WAY_OUT, prove, refuse_open
from podium.training.formats import (
    Described,
    FromCode,
    is_pickled,
    needs_pickle,
    write_model,
    write_to_ask,
)
from podium.training.input_types import as_clients_send, category_columns, flags_with_gaps

__all__ = ["FromCode", "Usable", "log_model", "save_model", "usable"]

INPUT_EXAMPLE_ROWS = 5
# A model must answer so many rows in any order and company.
_ASKED_ROWS = 64

Answer = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class Usable:
    """A trained model that can be asked before it is in MLflow.

    Attributes:
        model: As the trainer returned it.
        predict: From rows as it was trained on to an array.
        classes: The labels in the order of the answer's columns; none unless it classifies.
        flavour: What saves it.
        loaded: A pyfunc, as a client loads it.
        pickle: Why it is trusted as a pickle; "" if it is none.
    """

    model: Any
    predict: Answer
    classes: tuple[str, ...]
    flavour: Flavour
    loaded: PyFuncModel | None = None
    pickle: str = ""

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
def usable(
    model: Any,
    *,
    classifies: bool,
    requirements: Sequence[str],
    classes: Sequence[str] = (),
    pickle: str = "",
) -> Iterator[Usable]:
    """Hold a trained model ready to answer; a pyfunc is saved and loaded as a client would.

    Args:
        model: As the trainer returned it.
        classifies: It answers with probabilities.
        requirements: What it needs to load, pinned.
        classes: The labels in the order of its answers, where it does not know them itself.
        pickle: Why the model file trusts it as a pickle; "" if it does not.

    Raises:
        TrainerError: It only exists as a pickle, and the model file does not trust it.
    """
    flavour = Flavour.PYFUNC if isinstance(model, FromCode) else flavour_of(model)
    if needs_pickle(model, flavour) and not pickle:
        raise TrainerError(
            f"a {type(model).__name__} can only be saved as a pickle, which runs code when it is loaded: say "
            "in the model file why it is trusted, `pickle: we trained it ourselves, of our own rows`"
        )
    trusted = pickle if is_pickled(model, flavour, pickle) else ""
    known = _classes(model, classes) if classifies else ()
    if flavour is not Flavour.PYFUNC:
        yield Usable(model, _answer(model, flavour, known), known, flavour, pickle=trusted)
        return
    with TemporaryDirectory(prefix="podium-") as folder:
        path = Path(folder) / "model"
        write_to_ask(path, model, requirements)
        loaded = load_model(path)
        yield Usable(model, loaded.predict, known, flavour, loaded, trusted)


def _answer(model: Any, flavour: Flavour, classes: tuple[str, ...]) -> Answer:
    """Return how a model in memory is asked: a network as it is when it was loaded."""
    if flavour is Flavour.SKLEARN:
        return model.predict_proba if classes else model.predict  # type: ignore[no-any-return]
    if flavour is Flavour.PYTORCH:
        model.cpu().eval()
    return lambda inputs: ask(model, flavour, inputs, classes)


def _classes(model: Any, given: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that a model knows itself, or those that the trainer gave for its numbers."""
    own = model.classes if isinstance(model, FromCode) else getattr(model, "classes_", None)
    known = [] if own is None else list(own)
    if not known or (given and known == list(range(len(given)))):
        return tuple(map(str, given))
    return tuple(map(str, known))


def log_model(
    trained: Usable,
    inputs: pd.DataFrame,
    requirements: Sequence[str],
    skops_trusted_types: Sequence[str],
    reference: Reference | None = None,
) -> str:
    """Log a model to the active run, with its signature, and an input example that it can be proved by later.

    It is saved and proved before; exactly what was proved is logged.

    Args:
        trained: The model.
        inputs: All rows that it was trained on; some of them are the example.
        requirements: What it needs to load, pinned.
        skops_trusted_types: Types that a saved estimator may hold beyond scikit-learn's usual ones.
        reference: What its windows are compared with; it becomes one of the model's files.

    Returns:
        The digest of the manifest of what was proved.

    Raises:
        TrainerError: It cannot be saved, or is not proved.
    """
    with TemporaryDirectory(prefix="podium-") as folder:
        path = Path(folder) / "model"
        save_model(path, trained, inputs, requirements, skops_trusted_types)
        if reference is not None:
            write_reference(path, reference)
        name = "mlflow.pyfunc" if trained.flavour is Flavour.PYFUNC else f"mlflow.{trained.flavour}"
        Model.log(artifact_path=None, name="model", flavor=_Saved(path), flavor_name=name)
        return read_manifest(path).digest()


class _Saved:
    """What MLflow logs as if it were a flavour: the files of a model that is saved and proved already."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save_model(self, path: str, mlflow_model: Model) -> None:
        """Copy the files; only what the model is called in MLflow is new."""
        copytree(self._folder, path)
        saved = Model.load(str(self._folder))
        for name in ("artifact_path", "run_id", "model_id", "model_uuid"):
            setattr(saved, name, getattr(mlflow_model, name))
        saved.save(str(Path(path) / MLMODEL_FILE_NAME))


def save_model(
    folder: Path,
    trained: Usable,
    inputs: pd.DataFrame,
    requirements: Sequence[str],
    skops_trusted_types: Sequence[str],
) -> None:
    """Save a model to a new folder and prove it there; arguments as ``log_model``."""
    described = _described(trained, inputs, requirements, skops_trusted_types)
    rows, expected = inputs.head(_ASKED_ROWS), None
    # A model that writes texts takes its time.
    if np.issubdtype(np.asarray(described.metadata[EXAMPLE_OUTPUT]).dtype, np.number):
        expected = np.asarray(trained.predict(rows))
        _check_order(trained.predict, rows, expected, trained.flavour)
    with _saving_skops():
        if trained.flavour in (Flavour.SKLEARN, Flavour.LIGHTGBM):
            load_skops()
        write_model(folder, trained.model, trained.flavour, described)
    with TemporaryDirectory(prefix="podium-") as gaps:
        prove(folder, _with_gaps(Path(gaps), trained, inputs))
    if expected is not None and trained.flavour not in (Flavour.SKLEARN, Flavour.PYFUNC):
        _check_order(load_model(folder).predict, as_clients_send(rows), expected, trained.flavour)


def _check_order(predict: Answer, rows: pd.DataFrame, expected: Any, flavour: Flavour) -> None:
    """Make sure that each row has its own answer: alone, among others, and in another order.

    A network may be exported for one size of a batch, and a model may leave rows out.

    Raises:
        TrainerError: It has not.
    """
    sizes = {f"its first {size} rows" if size > 1 else "a row alone": size for size in (1, 2, len(rows))}
    asked = {"the same rows in another order": (rows.iloc[::-1], expected[::-1])}
    asked |= {what: (rows.head(size), expected[:size]) for what, size in sizes.items()}
    for what, (some, wanted) in asked.items():
        try:
            found = np.asarray(predict(some))
        except (PodiumError, OSError):
            raise
        except Exception as error:
            raise TrainerError(
                f"the model does not answer {what}: {type(error).__name__}: {error}"
            ) from error
        if len(found) != len(some):
            raise TrainerError(f"the model gives {len(found)} answers for {len(some)} rows; give one a row")
        numbers = [np.nan_to_num(np.asarray(answers, dtype=float)) for answers in (wanted, found)]
        if not equal(numbers[0], numbers[1], tolerance({flavour: None})):
            raise TrainerError(
                f"the model answers {what} otherwise than among {len(rows)} rows: each row must have an "
                "answer of its own, in the order of the rows"
            )


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


def _described(
    trained: Usable, inputs: pd.DataFrame, requirements: Sequence[str], skops_trusted_types: Sequence[str]
) -> Described:
    """Return what is saved with a model."""
    example = _example(inputs)
    # As the trainer had the rows: the proof asks with the same rows as clients send them.
    output = np.asarray(trained.predict(example))
    given = trained.model.signature if isinstance(trained.model, FromCode) else None
    metadata = {CLASSES: list(trained.classes), EXAMPLE_OUTPUT: example_output(output)}
    return Described(
        signature=given or _signature(inputs, output),
        example=as_clients_send(example),
        requirements=requirements,
        metadata=metadata | ({PICKLE: trained.pickle} if trained.pickle else {}),
        skops_trusted_types=skops_trusted_types,
        classifies=bool(trained.classes),
        pickle=trained.pickle,
    )


def _signature(inputs: pd.DataFrame, output: Any) -> ModelSignature:
    """Read the signature off all training rows, so that a column with gaps is none of whole numbers."""
    with warnings.catch_warnings():
        # It warns of each column of whole numbers that these have no gaps; all rows were looked at for gaps.
        # https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/types/utils.py
        warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
        return infer_signature(_kinds_of(as_clients_send(inputs)), output)


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
