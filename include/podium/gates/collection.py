"""Make the evidence for the gates: score every model once on the stored holdout rows, batch by batch."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from podium.errors import Outage, PodiumError
from podium.gates.baseline_file import read_baseline_files
from podium.gates.cost import BATCH_ROWS as TIMED_ROWS
from podium.gates.cost import Timed, measure_speed
from podium.gates.evidence import Cost, Evidence, Side, no_answers
from podium.gates.schema import SchemaFindings
from podium.gates.seen_rows import seen_rows
from podium.ledger import history
from podium.ledger.events import Event, EventKind
from podium.metrics.answers import Numbers, true_values
from podium.metrics.generated_code import score_generation
from podium.metrics.labels import spelling
from podium.metrics.predictions import labels_known, predict
from podium.model_file.gates import CostGate, CostName, SchemaGate
from podium.model_file.metric_gate import MetricGate
from podium.model_file.metric_names import TRAINER_METRIC, TaskKind
from podium.model_file.spec import ModelSpec
from podium.names import CANDIDATE, CHAMPION, version_name
from podium.registry.client import Registry, Version
from podium.registry.example import example_problem
from podium.registry.model_files import load_model
from podium.services import Services
from podium.training import holdout
from podium.versions import verified

log = logging.getLogger(__name__)

# The version that is judged, among the sides.
JUDGED = "judged"


@dataclass(frozen=True)
class Case:
    """A version that is to be judged.

    Attributes:
        services: The registry, and where the project is.
        events: The model's history.
        spec: The model file.
        version: The version.
        folder: Its holdout, as the training run stored it (``podium.training.holdout``).
    """

    services: Services
    events: Sequence[Event]
    spec: ModelSpec
    version: Version
    folder: Path


def versions_to_compare(registry: Registry, spec: ModelSpec, judged: int) -> dict[str, int]:
    """Return the live champion, and the present candidate where a gate asks for it, by these names."""
    aliases = registry.aliases(spec.name)
    asked = {gate.against for gate in spec.gates if isinstance(gate, MetricGate)}
    names = [CHAMPION, *([CANDIDATE] if CANDIDATE in asked else [])]
    return {
        name: aliases[name]
        for name in names
        if name in aliases and not (name == CANDIDATE and aliases[name] == judged)
    }


def score_sides(case: Case, versions: Mapping[str, int]) -> dict[str, Side]:
    """Score the version, and those to compare it with, each once, on the version's own holdout.

    Args:
        case: The version.
        versions: Those to compare it with, by name.

    Returns:
        The version's own side as ``judged``, the others under their names.

    Raises:
        BytesChanged: The files of a version are not those that were registered.
        Outage: A part did not answer, or a version to compare with cannot be scored: neither pass nor fail.
    """
    sides = answer_holdout(case, versions)
    for name, number in versions.items():
        if broken := sides[name].broken:
            what = f"{name} {case.spec.name} {version_name(number)}"
            registered = history.registration(case.events, number)
            if registered is not None and registered.event is not EventKind.REGISTERED:
                raise Outage(
                    f"{what}, which was made outside Podium, {broken}: there is nothing to compare with. "
                    "Correct data.inputs or labels in the model file, or move the alias champion to one "
                    "that can be scored and let settle_champion accept it (docs/adopt.md)"
                )
            raise Outage(
                f"{what} {broken}, so there is nothing to compare with. The task retries. If the problem "
                "stays, roll back to a version that can be scored, or repair what it needs"
            )
    return sides


def answer_holdout(case: Case, versions: Mapping[str, int]) -> dict[str, Side]:
    """Do the same, and say of each side that cannot be scored that it is broken."""
    numbers = {JUDGED: case.version.number, **versions}
    models = {name: _load(case, number) for name, number in numbers.items()}
    scored = 0
    first = pd.DataFrame()
    for batch in holdout.batches(case.folder):
        first = batch.head(TIMED_ROWS) if first.empty else first
        for model in models.values():
            model.score(batch)
        scored += len(batch)
        log.info("Scored %s holdout rows with each of %s.", f"{scored:,}", _describe_versions(numbers))
    if _speed_matters(case.spec):
        _time(models, first)
    return {name: model.side() for name, model in models.items()}


def assemble(case: Case, sides: Mapping[str, Side], versions: Mapping[str, int]) -> Evidence:
    """Put the answers beside the truth, and look through the rows for what else the gates ask.

    Args:
        case: The version.
        sides: What ``score_sides`` returned, now or when the version was judged.
        versions: The versions among them, by name.

    Raises:
        DataError: A baseline file cannot be read.
    """
    spec, rows = case.spec, _Rows(case.spec, holdout.read_training_rows(case.folder))
    for batch in holdout.batches(case.folder):
        rows.add(batch)
    baselines = holdout.read_baselines(case.folder, spec.answer_columns)
    references = {name: side for name, side in sides.items() if name != JUDGED}
    known = _other_champion(case, versions)
    note = "" if known is None else seen_rows(case.services.registry, spec, CHAMPION, known, case.folder)
    return Evidence(
        task=spec.task,
        labels=spec.labels,
        truth=rows.truth(),
        columns=rows.columns(),
        groups=None if spec.data.group is None else rows.columns()[spec.data.group].to_numpy(),
        candidate=sides[JUDGED],
        references={**references, **{name: Side(stored, spec.labels) for name, stored in baselines.items()}},
        versions=versions,
        trainer_metrics=_trainer_metrics(case),
        baseline_files=read_baseline_files(spec, case.services.settings.home),
        overlaps=rows.overlaps(),
        schema_problems=rows.schema_problems(),
        notes=(note,) if note else (),
    )


def _other_champion(case: Case, versions: Mapping[str, int]) -> Event | None:
    """Return the registration of the champion, unless it is the version that is judged."""
    champion = versions.get(CHAMPION, case.version.number)
    return None if champion == case.version.number else history.registration(case.events, champion)


class _Unusable(PodiumError):
    """A model does not load or answer; says how. It is no fault of the parts around it."""


class _Scored:
    """One version in memory, with what it has answered so far."""

    def __init__(self, spec: ModelSpec, model: PyFuncModel | None, cost: Cost, broken: str) -> None:
        self.model = model
        self.cost = cost
        self.broken = broken
        self._spec = spec
        self._answers: list[Numbers] = []
        schema = None if model is None else model.metadata.get_input_schema()
        named = [] if schema is None else schema.input_names()
        self._inputs = list(named) or list(spec.data.inputs)

    def score(self, batch: pd.DataFrame) -> None:
        """Answer some rows; one that cannot is broken, and has no answers from here on."""
        self._answers.append(self.answers(batch))

    def answers(self, batch: pd.DataFrame) -> Numbers:
        """Return answers to some rows, NaN where there are none."""
        if self.model is not None and not self.broken:
            try:
                with _model_errors("cannot be scored on these rows"):
                    if self._spec.task is TaskKind.GENERATION:
                        return score_generation(self.model, batch, self._spec.data)
                    return predict(self.model, self.inputs(batch), self._spec.labels)
            except _Unusable as error:
                self.broken = str(error)
        return no_answers(len(batch), self._spec.answer_columns)

    def inputs(self, batch: pd.DataFrame) -> pd.DataFrame:
        """Return the columns that the model takes."""
        if missing := [name for name in self._inputs if name not in batch]:
            raise _Unusable(f"takes the columns {', '.join(missing)}, which the holdout does not have")
        return batch[self._inputs]

    def side(self) -> Side:
        """Return all that was seen of it."""
        empty, spelled = no_answers(0, self._spec.answer_columns), spelling(self._spec.labels)
        return Side(
            predictions=np.concatenate(self._answers) if self._answers else empty,
            classes=() if self.model is None else tuple(map(spelled, labels_known(self.model))),
            signature={} if self.model is None else _signature(self.model),
            cost=self.cost,
            broken=self.broken,
        )


@contextmanager
def _model_errors(what: str) -> Iterator[None]:
    """Tell a model that does not work, whatever it raises, from a part that does not answer."""
    try:
        yield
    except _Unusable:
        raise
    except OSError as error:
        raise Outage(f"{what}: {error}") from error
    except Exception as error:
        raise _Unusable(f"{what}: {type(error).__name__}: {error}") from error


def _load(case: Case, number: int) -> _Scored:
    with verified(case.services, case.events, case.spec.name, number) as (folder, manifest):
        size = sum(file.size for file in manifest.files) / 1e6
        start = perf_counter()
        try:
            with _model_errors("does not load and predict its example"):
                loaded = load_model(folder)
                cost = Cost(load_time=perf_counter() - start, model_size=size)
                # A champion that was accepted from outside may have no example; to be scored is enough.
                judged = number == case.version.number
                recorded = history.example_of(case.events, number)
                problem = example_problem(loaded, recorded) if judged else ""
                return _Scored(case.spec, loaded, cost, problem)
        except _Unusable as error:
            return _Scored(case.spec, None, Cost(load_time=None, model_size=size), str(error))


def _trainer_metrics(case: Case) -> dict[str, float]:
    found = case.services.registry.run_metrics(case.version.run_id, TRAINER_METRIC)
    # MLflow keeps infinity as the largest number that there is, which would be a good one.
    return {
        name: math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value
        for name, value in found.items()
    }


def _signature(model: PyFuncModel) -> dict[str, Any]:
    signature = model.metadata.signature
    return {} if signature is None else dict(signature.to_dict())


def _speed_matters(spec: ModelSpec) -> bool:
    timed = (CostName.LATENCY_P95, CostName.THROUGHPUT)
    return any(isinstance(gate, CostGate) and gate.cost in timed for gate in spec.gates)


def _time(models: Mapping[str, _Scored], rows: pd.DataFrame) -> None:
    for scored in models.values():
        # One that answers batches may still not answer a row alone.
        scored.answers(rows.head(1))
    working = {
        name: Timed(scored.model, scored.inputs(rows), scored.cost)
        for name, scored in models.items()
        if scored.model is not None and not scored.broken and len(rows)
    }
    for name, cost in measure_speed(working).items():
        models[name].cost = cost


class _Rows:
    """The holdout's rows, read once: what gates need of them is kept, the rest is let go."""

    def __init__(self, spec: ModelSpec, training: Mapping[tuple[str, ...], holdout.Fingerprints]) -> None:
        self._spec = spec
        self._training = training
        self._labels: list[pd.Series] = []
        self._columns: list[pd.DataFrame] = []
        self._shared = dict.fromkeys(training, 0)
        self._schemas = {
            gate.key: SchemaFindings(gate) for gate in spec.gates if isinstance(gate, SchemaGate)
        }

    def add(self, batch: pd.DataFrame) -> None:
        data = self._spec.data
        # Copies: a part of a batch would keep all of it in memory.
        self._labels.append(batch[data.label].copy())
        self._columns.append(batch[[name for name in _columns_asked(self._spec) if name in batch]].copy())
        for columns, trained_on in self._training.items():
            found = holdout.fingerprints(batch, columns or data.inputs)
            self._shared[columns] += holdout.shared(found, trained_on)
        for findings in self._schemas.values():
            findings.add(batch)

    def truth(self) -> npt.NDArray[Any]:
        return true_values(self._spec.task, pd.concat(self._labels, ignore_index=True), self._spec.labels)

    def columns(self) -> pd.DataFrame:
        return pd.concat(self._columns, ignore_index=True)

    def overlaps(self) -> dict[tuple[str, ...], float | None]:
        rows = sum(map(len, self._labels))
        return {columns: shared / rows for columns, shared in self._shared.items() if rows}

    def schema_problems(self) -> dict[str, list[str]]:
        return {key: findings.problems() for key, findings in self._schemas.items()}


def _columns_asked(spec: ModelSpec) -> list[str]:
    asked = {} if spec.data.group is None else {spec.data.group: None}
    for gate in spec.gates:
        if isinstance(gate, MetricGate):
            asked |= dict.fromkeys(gate.columns)
            asked |= {} if gate.slices is None else {gate.slices.column: None}
    return list(asked)


def _describe_versions(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {version_name(number)}" for name, number in numbers.items())
