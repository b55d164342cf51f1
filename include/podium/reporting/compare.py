"""Put runs or versions of a model side by side: what differs, and which is best."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from podium.errors import NotFound, OutOfUse, PodiumError
from podium.lifecycle.custody_rules import use_problem
from podium.model_file.metric_gate import MetricGate
from podium.model_file.metric_names import KNOWN_METRICS, REPORTED, TRAINER_METRIC, TaskKind
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag, version_name
from podium.registry.client import TrainingRun, Version
from podium.reporting.rescored import score_again
from podium.services import Services
from podium.text import one_line

HOLDOUT_METRIC = "holdout."
_SHOWN = 10


@dataclass(frozen=True)
class ComparedVersion:
    """One run or version.

    Attributes:
        name: Such as ``v3``, or the start of a run's id.
        run: The MLflow run.
        is_now: A version's aliases, or the version that a run became.
        as_of: The day up to which it saw the world.
        data_version: Which rows it knew.
        judged_on: Its own holdout.
        params: What it was trained with.
        metrics: On the rows that ``scored_on`` names, and the trainer's numbers.
        scored_on: The rows of its metrics, where they are not those of its own holdout.
        unfair: Why its numbers say nothing beside the others'; "" if they do.
    """

    name: str
    run: str
    is_now: str
    as_of: str
    data_version: str
    judged_on: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    scored_on: str = ""
    unfair: str = ""

    def rows_of(self, metric: str) -> tuple[str, str]:
        """Name the rows that a metric is of; the trainer's numbers are of its own training."""
        if self.scored_on and not metric.startswith(TRAINER_METRIC):
            return "", self.scored_on
        return self.data_version, self.judged_on


@dataclass(frozen=True)
class Comparison:
    """Runs or versions of a model, newest first.

    Attributes:
        model: The registered model.
        sides: What is compared.
        metric: By which the best is found.
        greater_is_better: Its direction.
        out_of_use: Why versions among the newest take no part.
    """

    model: str
    sides: tuple[ComparedVersion, ...]
    metric: str
    greater_is_better: bool
    out_of_use: tuple[str, ...] = ()

    @property
    def same_rows(self) -> bool:
        """True if the metrics are all of the same rows, so that they compare."""
        return len({side.rows_of(self.metric) for side in self.sides}) == 1

    def differing_params(self) -> list[str]:
        """Return the params that are not the same everywhere."""
        names = sorted({name for side in self.sides for name in side.params})
        return [name for name in names if len({side.params.get(name) for side in self.sides}) > 1]

    def metrics(self) -> list[str]:
        """Return all metrics, that by which the best is found first."""
        names = {name: None for side in self.sides for name in side.metrics}
        return sorted(names, key=lambda name: name != self.metric)

    def best(self, metric: str) -> ComparedVersion | None:
        """Return the side that is best by a metric, or None where nobody knows its direction.

        Numbers of different rows have no order: the rows of the newest side count, where at least two are
        judged on them. Runs of a profile are no better than others: they were judged on less, and are never
        promoted.
        """
        greater = self.greater_is_better if metric == self.metric else _direction(metric)
        sides = self.ordered(metric)
        if greater is None or not sides:
            return None
        return (max if greater else min)(sides, key=lambda side: side.metrics[metric])

    def ordered(self, metric: str) -> list[ComparedVersion]:
        """Return the sides whose numbers can be put in order: those of the same rows as the newest one."""
        full = [side for side in self.sides if Tag.PROFILE not in side.params]
        sides = [side for side in full if math.isfinite(side.metrics.get(metric, math.nan))]
        newest = max(full, key=_newness).rows_of(metric) if full else ()
        same = [side for side in sides if side.rows_of(metric) == newest and not side.unfair]
        all_compare = not any(side.rows_of(metric) != newest or side.unfair for side in full)
        return same if all_compare or len(same) > 1 else []

    def rows(self) -> list[str]:
        """Say, a sentence each, on which rows the numbers are, and which of them have no order."""
        again = next((side.scored_on for side in self.sides if side.scored_on), "")
        said = [f"Each was scored again on the same rows, those of {again}."] if again else []
        if not self.same_rows:
            ordered = ", ".join(side.name for side in self.ordered(self.metric))
            which = (
                f"the best is one of those on the newest rows, {ordered}" if ordered else "none is the best"
            )
            said.append(f"They were judged on different rows, so their numbers cannot be compared: {which}.")
        unfair = [side.unfair for side in self.sides if side.unfair]
        return said + [f"Not compared: {why}." for why in (*unfair, *self.out_of_use)]

    def no_best(self) -> str:
        """Say why there is no best side, and what to do."""
        if self.same_rows:
            return f"{self.model}: none of them has a {self.metric} that can be compared"
        return (
            f"{self.model}: they were judged on different rows, so their numbers cannot be compared, so none "
            "is nominated. Train the runs with the same as_of, or compare versions, which are scored again "
            "on the same rows; a run of your choice goes into the form's mlflow_run"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the comparison with plain JSON values."""
        best = self.best(self.metric)
        return {
            "model": self.model,
            "metric": self.metric,
            "best": None if best is None else best.name,
            "same_rows": self.same_rows,
            "rows": self.rows(),
            "differing_params": self.differing_params(),
            "sides": [
                {**vars(side), "params": dict(side.params), "metrics": dict(side.metrics)}
                for side in self.sides
            ],
        }

    def as_csv(self) -> str:
        """Return one line per run or version."""
        params = sorted({name for side in self.sides for name in side.params})
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        named = map(one_line, [*params, *self.metrics()])
        writer.writerow(["name", "run", "is_now", "as_of", "scored_on", *named])
        for side in self.sides:
            values = [side.params.get(name, "") for name in params]
            numbers = [side.metrics.get(name, "") for name in self.metrics()]
            rows = side.scored_on or side.judged_on
            row = [side.name, side.run, side.is_now, side.as_of, rows, *values, *numbers]
            writer.writerow([one_line(str(value)) for value in row])
        return text.getvalue()


def compare_versions(services: Services, spec: ModelSpec, metric: str | None) -> Comparison:
    """Compare the registered versions of a model; those of different rows are scored again on the newest.

    One that is in quarantine takes no part: it is not scored, and never the best.

    Raises:
        NotFound: There is none.
        OutOfUse: All of them are in quarantine.
        BytesChanged: The files of a version that is scored again are not those that were registered.
        PodiumError: None of them has the metric, or nobody knows its direction.
        Outage: MLflow did not answer.
    """
    aliases = services.registry.aliases(spec.name)
    versions = services.registry.versions(spec.name)[:_SHOWN]
    if not versions:
        raise NotFound(f"{spec.name} has no version yet")
    events = services.ledger.present(spec.name, *(version.number for version in versions))
    shut = {version.number: use_problem(events, version.number) for version in versions}
    out_of_use = tuple(filter(None, shut.values()))
    versions = [version for version in versions if not shut[version.number]]
    if not versions:
        raise OutOfUse("; ".join(out_of_use))
    sides = []
    for version in versions:
        bears = [alias for alias in Alias if aliases.get(alias) == version.number]
        run = services.registry.training_run(spec.name, version.run_id)
        sides.append(_side(run, version_name(version.number), ", ".join(bears)))
    compared = replace(_comparison(spec, sides, metric), out_of_use=out_of_use)
    # Ten models that write code, each tried on every row, would take hours.
    slow = spec.task is TaskKind.GENERATION
    if slow or compared.same_rows or compared.metric.startswith(TRAINER_METRIC):
        return compared
    return replace(compared, sides=_scored_again(services, spec, versions, sides))


def _scored_again(
    services: Services, spec: ModelSpec, versions: Sequence[Version], sides: Sequence[ComparedVersion]
) -> tuple[ComparedVersion, ...]:
    newest = max(range(len(sides)), key=lambda place: _newness(sides[place]))
    others = [version for place, version in enumerate(versions) if place != newest]
    found = score_again(services, spec, versions[newest], others)
    rows = f"{sides[newest].name}: {sides[newest].judged_on}"
    return tuple(
        replace(
            side,
            metrics={**_of_the_trainer(side.metrics), **found.metrics[version.number]},
            scored_on=rows,
            unfair=found.unfair.get(version.number, ""),
        )
        for version, side in zip(versions, sides, strict=True)
    )


def _newness(side: ComparedVersion) -> tuple[bool, str, str]:
    """Order sides by how new their rows are; those of a profile are no measure."""
    return Tag.PROFILE not in side.params, side.as_of, side.judged_on[:10]


def _of_the_trainer(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith(TRAINER_METRIC)}


def compare_runs(services: Services, spec: ModelSpec, metric: str | None) -> Comparison:
    """Compare the finished training runs of a model, newest first.

    Raises:
        NotFound: There is none.
        PodiumError: None of them has the metric, or nobody knows its direction.
        Outage: MLflow did not answer.
    """
    found = services.registry.training_runs(spec.name, _SHOWN)
    if not found:
        raise NotFound(f"{spec.name} has no finished training run yet")
    versions = {
        version.run_id: version_name(version.number) for version in services.registry.versions(spec.name)
    }
    sides = [_side(run, run.run_id[:8], versions.get(run.run_id, "")) for run in found]
    return _comparison(spec, sides, metric)


def draw(comparison: Comparison, path: Path) -> None:
    """Write a picture of the metric, a bar per run or version, the best one in another colour.

    Raises:
        PodiumError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    sides = [side for side in comparison.sides if comparison.metric in side.metrics]
    best = comparison.best(comparison.metric)
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(sides)), layout="constrained")
    axes = figure.add_subplot(
        title=comparison.model,
        xlabel=f"{comparison.metric}{'' if comparison.same_rows else ', each on rows of its own'}",
    )
    names = [f"{side.name} {side.is_now}".strip() for side in sides]
    colours = ["C2" if side is best else "C0" for side in sides]
    bars = axes.barh(names, [side.metrics[comparison.metric] for side in sides], color=colours)
    axes.bar_label(bars, fmt="%.4f", padding=3)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise PodiumError(f"{path} cannot be written: {error}") from error


def _comparison(spec: ModelSpec, sides: Sequence[ComparedVersion], metric: str | None) -> Comparison:
    chosen = metric or gated_metric(spec)
    greater = _direction(chosen, spec)
    there = sorted({name for side in sides for name in side.metrics})
    if chosen not in there:
        raise PodiumError(f"no metric '{chosen}'; available: {', '.join(there)}")
    if greater is None:
        raise PodiumError(
            f"the direction of {chosen} is unknown: set greater_is_better in a gate of {spec.name}"
        )
    return Comparison(spec.name, tuple(sides), chosen, greater)


def gated_metric(spec: ModelSpec) -> str:
    """Return the first metric that the gates ask for and training runs have, else the task's first one."""
    reported = REPORTED[spec.task]
    gated = [gate.metric for gate in spec.gates if isinstance(gate, MetricGate) and gate.metric in reported]
    return (*gated, *reported)[0]


def _direction(metric: str, spec: ModelSpec | None = None) -> bool | None:
    if known := KNOWN_METRICS.get(metric):
        return known.greater_is_better
    gates = () if spec is None else spec.gates
    said = [gate.greater for gate in gates if isinstance(gate, MetricGate) and gate.metric == metric]
    return said[0] if said else None


def _side(run: TrainingRun, name: str, is_now: str) -> ComparedVersion:
    metrics = {
        key.removeprefix(HOLDOUT_METRIC): value
        for key, value in run.metrics.items()
        if key.startswith(TRAINER_METRIC) or (key.startswith(HOLDOUT_METRIC) and key.count(".") == 1)
    }
    return ComparedVersion(
        name=name,
        run=run.run_id,
        is_now=is_now,
        as_of=run.tags.get(Tag.AS_OF, "")[:10],
        data_version=run.tags.get(Tag.DATA_VERSION, "")[:12],
        judged_on=run.tags.get(Tag.JUDGED_ON, ""),
        params=run.params,
        metrics=metrics,
    )
