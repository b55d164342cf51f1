"""A version that is loaded, checked and ready to answer."""

from __future__ import annotations

import logging
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from podium.errors import DataError, PodiumError
from podium.ledger import history
from podium.ledger.events import Event
from podium.lifecycle.custody_rules import refuse_out_of_use, refuse_retired
from podium.lifecycle.profile_rules import refuse_alias, refuse_to_serve
from podium.metrics.bins import Bins
from podium.metrics.predictions import classes_of
from podium.metrics.reference_file import reference_of
from podium.names import Alias, version_name
from podium.registry.example import example_problem
from podium.registry.model_files import load_model
from podium.registry.signature import columns_taken
from podium.services import Services
from podium.serving.mlflow_requests import from_type_hints
from podium.serving.requests import Rows, Shape, Values
from podium.serving.tensors import tensors_of
from podium.sources.columns import InputColumn, Kind, columns_by_place, columns_of
from podium.versions import verified

log = logging.getLogger(__name__)

# Joined requests must be answered as each alone: rows that are asked alone, and in companies of these sizes.
_TRIED_ALONE = 12
_TRIED_SIZES = (2, 5, 12, 33, 64)
_QUICK_SECONDS = 0.1

Answer = Callable[[Values], Any]


@dataclass(frozen=True)
class ServedTarget:
    """Which version of a model to serve.

    Attributes:
        model: The registered model.
        alias: The alias to follow; None for one version for good.
        version: That version.
    """

    model: str
    alias: str | None = None
    version: int | None = None

    def __str__(self) -> str:
        """Name it, as messages do."""
        return f"{self.model} {self.alias or version_name(self.version)}"


@dataclass(frozen=True, eq=False)
class LoadedVersion:
    """One version in memory; its bytes were those of its manifest, and it predicts its example.

    Attributes:
        model: The registered model.
        number: The version.
        digest: The digest of its manifest.
        loaded_at: When it was loaded.
        classes: Of a classification: the labels in the order of its answers.
        shape: What it takes.
        joins: Rows of several requests may be answered in one call: it was seen to answer each row the same,
            to the last bit, alone and among others.
        pyfunc: The model.
        answer_array: Of a version that takes an array: its answer to one.
        bins: On which its requests are counted, by column; None where its files do not say it.
    """

    model: str
    number: int
    digest: str
    loaded_at: datetime
    classes: tuple[str, ...]
    shape: Shape
    joins: bool
    pyfunc: PyFuncModel = field(repr=False)
    answer_array: Answer | None = field(repr=False, default=None)
    bins: Mapping[str, Bins] | None = field(repr=False, default=None)

    def answer(self, rows: Rows) -> Any:
        """Return what the model answers; raises whatever it raises."""
        if self.answer_array is not None and isinstance(rows.values, np.ndarray):
            return self.answer_array(rows.values)
        if rows.params:
            return self.pyfunc.predict(rows.values, params=dict(rows.params))
        return self.pyfunc.predict(rows.values)


def load_version(  # noqa: PLR0913 - what a version is loaded from, and into
    services: Services,
    events: Sequence[Event],
    model: str,
    number: int,
    max_rows: int,
    within: Path | None = None,
) -> LoadedVersion:
    """Load a version after checking that its bytes are the registered ones; it predicts its example.

    Args:
        services: The registry and the ledger.
        events: The model's history.
        model: The registered model.
        number: The version.
        max_rows: Rows that one request may hold.
        within: The folder for the copy of its files; without it that of temporary files.

    Raises:
        BytesChanged: Its files are not those that were registered.
        DiskFull: There is no room for the copy.
        Outage: The registry or the store did not answer.
        PodiumError: It cannot be held here, or does not load and predict; says why.
    """
    name = f"{model} {version_name(number)}"
    with ExitStack() as files:
        try:
            folder, manifest = files.enter_context(verified(services, events, model, number, within))
        except OSError as error:
            raise PodiumError(f"{name} cannot be stored on this machine: {error}") from error
        try:
            pyfunc = load_model(folder)
            problem = example_problem(pyfunc, history.example_of(events, number))
        except Exception as error:
            raise PodiumError(f"{name} does not load and predict: {error}") from error
        if problem:
            raise PodiumError(f"{name} {problem}")
        loaded = _prepared(pyfunc, model, number, manifest.digest(), _shape(pyfunc, events, max_rows))
        loaded = replace(loaded, bins=_bins(folder, name))
        # Some models read their files late: they stay as long as the version does.
        weakref.finalize(loaded, files.pop_all().close)
        return loaded


def _bins(folder: Path, name: str) -> Mapping[str, Bins] | None:
    """Return the bins among the files of a version; of a newer Podium's, which it cannot read, none."""
    try:
        reference = reference_of(folder)
    except DataError as error:
        log.warning("%s: its requests are not counted: %s", name, error)
        return None
    return None if reference is None else reference.bins


def check_may_serve(events: Sequence[Event], number: int, target: ServedTarget) -> None:
    """Make sure that a version may serve, by the ledger.

    Aliases can be moved by anybody who reaches the registry. What serves is what was approved.

    Raises:
        Retired: The model was ended.
        OutOfUse: It is in quarantine, or retention deleted it.
        ProfileOnly: It was made of toy data, or is asked for by that alias.
        PodiumError: The ledger does not know of this champion or candidate.
    """
    refuse_alias(target.alias)
    refuse_to_serve(events, number)
    refuse_retired(events)
    refuse_out_of_use(events, number)
    name = f"{target.model} {version_name(number)}"
    if target.alias == Alias.CHAMPION:
        begun = history.unfinished_move(events)
        recorded = history.champion(events)
        if number not in (recorded, begun and begun.version):
            raise PodiumError(
                f"{name} is not served: the alias champion points to it, but the ledger's champion is "
                f"{version_name(recorded)}. The alias was moved outside Podium; settle_champion settles that"
            )
    elif target.alias == Alias.CANDIDATE and number != history.candidate(events):
        raise PodiumError(
            f"{name} is not served: the alias candidate points to it, but the ledger has no nomination of "
            f"it. reconcile sets the alias back"
        )


def _shape(pyfunc: PyFuncModel, events: Sequence[Event], max_rows: int) -> Shape:
    metadata = pyfunc.metadata
    schema = metadata.get_input_schema()
    if schema is None or from_type_hints(metadata):
        return Shape(None, metadata=metadata, max_rows=max_rows)
    if schema.is_tensor_spec():
        return Shape(None, tensors=tensors_of(schema), metadata=metadata, max_rows=max_rows)
    if not schema.has_input_names():
        return Shape(columns_by_place(schema), by_place=True, max_rows=max_rows)
    return Shape(columns_of(schema), former=_former_columns(events), max_rows=max_rows)


def _former_columns(events: Sequence[Event]) -> frozenset[str]:
    """Return all columns that champions took: their clients may still send them."""
    champions = history.champions(events)
    signatures = [event.details.get("signature") or {} for event in events if event.version in champions]
    return frozenset(
        name
        for signature in signatures
        for name, column in columns_taken(signature).items()
        if "name" in column
    )


def _prepared(pyfunc: PyFuncModel, model: str, number: int, digest: str, shape: Shape) -> LoadedVersion:
    answer_array, joins = _tried(pyfunc, shape)
    return LoadedVersion(
        model=model,
        number=number,
        digest=digest,
        loaded_at=datetime.now(UTC),
        classes=classes_of(pyfunc),
        shape=replace(shape, as_array=answer_array is not None),
        joins=joins,
        pyfunc=pyfunc,
        answer_array=answer_array,
    )


def _tried(pyfunc: PyFuncModel, shape: Shape) -> tuple[Answer | None, bool]:
    """Find out on rows like the version's example how it may be asked.

    Returns:
        Its answer to an array, if it has one that is the same as to a table; whether requests can be joined.
    """
    example = pyfunc.input_example
    if not shape.columns or shape.by_place or not isinstance(example, pd.DataFrame):
        return None, False
    rows = _many_rows(example, max(_TRIED_SIZES))
    try:
        answer_array = _answer_of_estimator(pyfunc, shape.columns)
        if answer_array and _answers_arrays_alike(answer_array, pyfunc, rows):
            return answer_array, _answers_rows_alone(answer_array, _array(rows))
        return None, _answers_rows_alone(pyfunc.predict, rows)
    except Exception as error:  # noqa: BLE001 - it answers its example; nothing is known of it beyond that
        log.warning("Requests are not joined; the model does not answer rows like its example: %r", error)
        return None, False


def _answer_of_estimator(pyfunc: PyFuncModel, columns: Sequence[InputColumn]) -> Answer | None:
    """Return the answer of a scikit-learn estimator to an array, without MLflow's checks of a table."""
    flavors = pyfunc.metadata.flavors
    if "sklearn" not in flavors or any(column.kind is not Kind.DOUBLE for column in columns):
        return None
    # `predict_fn` is not documented: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/sklearn/__init__.py
    predict: Answer = getattr(pyfunc.get_raw_model(), flavors["python_function"].get("predict_fn", "predict"))
    # It was fitted with names; the columns here are those of its signature, in their order. The words:
    # https://github.com/scikit-learn/scikit-learn/blob/1.9.1/sklearn/utils/validation.py
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    return predict


def _many_rows(example: pd.DataFrame, count: int) -> pd.DataFrame:
    """Repeat an example to many rows, numbers a little changed so that no two rows are the same."""
    rows = pd.concat([example] * -(-count // len(example)), ignore_index=True).head(count)
    random = np.random.default_rng(0)
    for name in rows.columns[[kind == np.float64 for kind in rows.dtypes]]:
        rows[name] = rows[name] * random.uniform(0.9, 1.1, count)
    return rows


def _answers_arrays_alike(answer_array: Answer, pyfunc: PyFuncModel, rows: pd.DataFrame) -> bool:
    sizes = (1, _TRIED_SIZES[0], _TRIED_SIZES[-1])
    return all(_same(answer_array(_array(rows[:size])), pyfunc.predict(rows[:size])) for size in sizes)


def _array(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    return np.asfortranarray(rows.to_numpy(np.float64))


def _answers_rows_alone(answer: Answer, values: Values) -> bool:
    """Whether a row gets the same answer, to the last bit, alone and among others.

    Trees do; a product of matrices may be added up in another order when there are more rows.
    """
    begun = monotonic()
    first = answer(values[:1])
    if monotonic() - begun > _QUICK_SECONDS or not isinstance(first, np.ndarray):
        return False
    alone = np.concatenate([first, *(answer(values[at : at + 1]) for at in range(1, _TRIED_ALONE))])
    return all(_same(np.asarray(answer(values[:size]))[:_TRIED_ALONE], alone[:size]) for size in _TRIED_SIZES)


def _same(found: Any, expected: Any) -> bool:
    if not isinstance(found, np.ndarray) or not isinstance(expected, np.ndarray):
        return False
    return found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
