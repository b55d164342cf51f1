"""What a version that was made elsewhere answers is taken once, so that it can prove itself later."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from podium.errors import CannotAdopt, DataError, Outage, PodiumError, TrainerError
from podium.metrics.predictions import predict
from podium.model_file.metric_names import TaskKind
from podium.model_file.spec import ModelSpec
from podium.model_file.types import HoldoutSpec
from podium.registry.model_files import load_model, pickled_parts
from podium.registry.recorded_example import recorded_example
from podium.training.data import load_window
from podium.training.holdout import rows as table_of

log = logging.getLogger(__name__)

_EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class TakenExample:
    """What a version was seen to answer.

    Attributes:
        example: For the ledger (``podium.registry.recorded_example``).
        notes: What it lacks though it can prove itself, a sentence each with what to do.
    """

    example: Mapping[str, Any]
    notes: Sequence[str]


def refuse_pickles(spec: ModelSpec, folder: Path, name: str) -> None:
    """Refuse a version whose files hold a pickle, unless the model file says why it is trusted.

    Args:
        spec: The model file.
        folder: The version's files.
        name: What messages call it.

    Raises:
        CannotAdopt: One does; names it, and the key.
    """
    if spec.pickle is None and (found := pickled_parts(folder)):
        raise CannotAdopt(
            f"{name} is a pickle ({', '.join(found)}): a pickle runs its maker's code when it is loaded. If "
            'you trust its origin, write pickle: "why you trust it" into the model file, and ask again'
        )


def take_example(spec: ModelSpec, home: Path, folder: Path, name: str) -> TakenExample:
    """Load a version from the files of its manifest, and ask it its example, or rows of the data.

    Args:
        spec: The model file.
        home: The project's top folder.
        folder: The version's files.
        name: What messages call it.

    Raises:
        CannotAdopt: It is a pickle that nobody trusts, does not load, or does not answer; says what to do.
        Outage: A file could not be read.
    """
    refuse_pickles(spec, folder, name)
    rows, without = _some_rows(spec, home)
    try:
        model = load_model(folder)
        example = recorded_example(model, None if rows is None else _taken(model, spec, rows))
    except Outage:
        raise
    except Exception as error:
        # A file that is not there comes back by no retry.
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise Outage(f"{name} could not be loaded here: {error}") from error
        why = str(error) if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}"
        raise CannotAdopt(
            f"{name} cannot prove itself here: {why}{f'; {without}' if without else ''}. Install what it "
            "needs (requirements.txt among its files), or log it again with an input example"
        ) from error
    log.info("%s loads, and what it answers is recorded.", name)
    return TakenExample(example, list(_notes(model, spec, rows, without)))


def _some_rows(spec: ModelSpec, home: Path) -> tuple[pd.DataFrame | None, str]:
    """Return the first rows of the model file's data, or why there are none."""
    # Of any age: rows of the newest days may be missing, and nothing is trained or judged here.
    of_any_age = spec.model_copy(update={"holdout": HoldoutSpec(share=0.2)})
    try:
        window = load_window(of_any_age, datetime.now(UTC), home)
    except (DataError, TrainerError) as error:
        return None, f"the model file's data cannot be read: {error}"
    return table_of(spec, window.train).head(_EXAMPLE_ROWS), ""


def _taken(model: PyFuncModel, spec: ModelSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that a model takes.

    Raises:
        PodiumError: The rows have not all of them.
    """
    schema = model.metadata.get_input_schema()
    named = list(schema.input_names()) if schema is not None and schema.has_input_names() else []
    wanted = named or list(spec.data.inputs)
    if missing := [column for column in wanted if column not in rows]:
        raise PodiumError(f"takes the columns {', '.join(missing)}, which the model file's data do not have")
    return rows[wanted]


def _notes(model: PyFuncModel, spec: ModelSpec, rows: pd.DataFrame | None, without: str) -> list[str]:
    said = []
    if model.metadata.signature is None:
        said.append(
            "it has no signature, so nobody can check what clients send: log it again with one "
            "(mlflow.models.infer_signature), or let the lifecycle train the next version"
        )
    if problem := without or _unscorable(model, spec, rows):
        said.append(
            f"it cannot be scored by the model file ({problem}), so the next lifecycle run has nothing to "
            "compare with. Correct data.inputs or labels in the model file; or move the alias champion to a "
            f"version that answers with {_wanted(spec)}, and let settle_champion accept it"
        )
    elif _answers_with_labels(model, spec, rows):
        said.append(
            "it answers with labels, and versions that Podium trains with probabilities: clients must take "
            "both, and a rollback to it from such a version is refused. Log it again with "
            'pyfunc_predict_fn="predict_proba" if they cannot'
        )
    return said


def _answers_with_labels(model: PyFuncModel, spec: ModelSpec, rows: pd.DataFrame | None) -> bool:
    if rows is None or not spec.labels:
        return False
    return np.asarray(model.predict(_taken(model, spec, rows))).ndim == 1


def _unscorable(model: PyFuncModel, spec: ModelSpec, rows: pd.DataFrame | None) -> str:
    """Say why the gates could not score a version; "" if they could."""
    if rows is None or spec.task is TaskKind.GENERATION:
        return ""
    try:
        predict(model, _taken(model, spec, rows), spec.labels)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is told
        return str(error) if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}"
    return ""


def _wanted(spec: ModelSpec) -> str:
    return f"the probabilities of {', '.join(spec.labels)}" if spec.labels else "one number a row"
