"""The grammar of the gates: what may stand under ``gates:`` in a model file (docs/gates.md)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    Tag,
    field_validator,
    model_validator,
)

from podium.model_file.metric_names import KNOWN_METRICS, OWN_METRICS, TRAINER_METRIC, Task
from podium.model_file.types import IMPORT_PATH, Columns, Filled, Name, Scalar, WrongKey, is_number, once

CHAMPION = "champion"
CANDIDATE = "candidate"
# What a gate can be held against besides the trainer's baselines.
VERSIONS = (CHAMPION, CANDIDATE)
JSON_FILE = ".json"
MOST_BINS = 50


class Level(StrEnum):
    """A required gate refuses a version; an advisory one is only shown to the approver."""

    REQUIRED = "required"
    ADVISORY = "advisory"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return "did you mean 'x'? " where a name is close to an allowed one."""
    close = difflib.get_close_matches(name, sorted(allowed), n=1)
    return f"did you mean '{close[0]}'? " if close else ""


def _check_metric(name: str) -> str:
    if name.startswith(TRAINER_METRIC) and ":" in name:
        raise ValueError(
            f"{TRAINER_METRIC}NAME is a number of the trainer; an own function needs a module that is not "
            f"called {TRAINER_METRIC.removesuffix('.')}"
        )
    if name in KNOWN_METRICS or re.fullmatch(IMPORT_PATH, name):
        return name
    if name.startswith(TRAINER_METRIC) and len(name) > len(TRAINER_METRIC):
        return name
    raise ValueError(
        f"no such metric; {nearest(name, KNOWN_METRICS)}allowed: {', '.join(OWN_METRICS)}, the scorers of "
        f"scikit-learn, an own function as module:function, a number of the trainer as {TRAINER_METRIC}NAME"
    )


class _Gate(Filled):
    """What every gate may say.

    Attributes:
        level: ``required`` refuses a version, ``advisory`` only tells.
    """

    level: Level = Level.REQUIRED


class _AgainstAVersion(_Gate):
    """A gate that needs a champion (or candidate) to compare with.

    Attributes:
        no_champion: Where there is none: ``pass`` says so on the report, ``fail`` refuses.
    """

    no_champion: Literal["pass", "fail"] = "pass"


class NotWorse(Filled):
    """The candidate is no worse, with this confidence, by paired bootstrap on the holdout's rows.

    Attributes:
        confidence: One-sided: so sure the regression is at most ``margin``.
        margin: By how much the metric may be worse. Two equally good models show a margin of zero only once
            in twenty at 0.95: give what you can live with.
        resamples: How many times the rows are drawn with replacement.
        seed: Of the drawing; the same seed gives the same interval.
    """

    confidence: StrictFloat = Field(default=0.95, ge=0.5, lt=1)
    margin: StrictFloat = Field(default=0.0, ge=0)
    resamples: StrictInt = Field(default=2000, ge=100, le=100_000)
    seed: StrictInt = Field(default=0, ge=0)


def _check_bins(bins: object) -> object:
    if isinstance(bins, list | tuple):
        edges = [edge for edge in bins if is_number(edge)]
        good = bool(edges) and len(edges) == len(bins) and edges == sorted(set(edges))
    else:
        good = isinstance(bins, int) and not isinstance(bins, bool) and 2 <= bins <= MOST_BINS
    if not good:
        raise ValueError(
            f"must be a number of bins from 2 to {MOST_BINS}, or a list of inner edges: numbers in ascending "
            "order, each once"
        )
    return bins


class Slices(Filled):
    """The rows of a gate, one slice per value or bin of a column.

    Attributes:
        column: A column of the examples, whether the model sees it or not.
        values: The values to judge, as text; each of them must be there. Without it all that there are.
        bins: So many bins of equal size, or their inner edges, for a column of numbers.
        min_support: A slice with fewer rows is too small to be judged.
        below_support: What a slice that is too small does: ``fail`` the gate, or ``waive`` itself on record.
    """

    column: Name
    values: Annotated[tuple[Name, ...], AfterValidator(once("each value once"))] | None = Field(
        default=None, min_length=1
    )
    bins: Annotated[int | tuple[float, ...], BeforeValidator(_check_bins)] | None = None
    min_support: StrictInt = Field(default=30, ge=1)
    below_support: Literal["fail", "waive"] = "fail"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.values is not None and self.bins is not None:
            raise ValueError("give values or bins, not both")
        return self


class MetricGate(_AgainstAVersion):
    """One rule on one metric of the candidate on the holdout.

    Attributes:
        metric: A name that ``metric_names`` knows, an own function as ``module:function``, or a number
            that the trainer returned, as ``trainer.NAME``.
        greater_is_better: The direction of an own function or of the trainer's number; known of the others.
        columns: Columns of the examples that an own function gets.
        threshold: The absolute bound.
        against: ``champion``, ``candidate`` or a baseline of the trainer, scored on the same rows.
        baseline: A JSON file of metrics by name, relative to the project's top folder.
        max_regression_abs: No worse than the reference by more than this.
        max_regression_rel: No worse than the reference by more than this share of it.
        min_improvement: Better than the reference by at least this.
        not_worse: No worse with a confidence.
        max_slice_difference: Between the best and the worst slice of the candidate.
        slices: Judge each slice instead of all rows.
    """

    metric: Annotated[str, AfterValidator(_check_metric)]
    greater_is_better: StrictBool | None = None
    columns: Columns = ()
    threshold: StrictFloat | None = None
    against: Name | None = None
    baseline: Name | None = None
    max_regression_abs: StrictFloat | None = Field(default=None, ge=0)
    max_regression_rel: StrictFloat | None = Field(default=None, ge=0)
    min_improvement: StrictFloat | None = Field(default=None, ge=0)
    not_worse: NotWorse | None = None
    max_slice_difference: StrictFloat | None = Field(default=None, ge=0)
    slices: Slices | None = None

    @property
    def greater(self) -> bool:
        """True if more is better."""
        known = KNOWN_METRICS.get(self.metric)
        return known.greater_is_better if known else bool(self.greater_is_better)

    @property
    def own_function(self) -> bool:
        """True if the metric is a function of the user's."""
        return ":" in self.metric

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        absolute = self._given("threshold", "max_slice_difference")
        references, bounds = self._given("against", "baseline"), self._given(*_RELATIVE)
        beside = [*absolute[1:], *references, *bounds]
        if absolute and beside:
            raise WrongKey(
                f"an absolute bound; {', '.join(beside)} cannot stand beside it: make two gates",
                absolute[0],
            )
        if not absolute and (problem := _incomplete(references, bounds)):
            raise ValueError(problem)
        return self

    def _given(self, *names: str) -> list[str]:
        return [name for name in names if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _direction(self) -> Self:
        known = KNOWN_METRICS.get(self.metric)
        if known is None and self.greater_is_better is None:
            raise WrongKey(f"missing; nobody knows the direction of {self.metric}", "greater_is_better")
        if known is not None and self.greater_is_better not in (None, known.greater_is_better):
            direction = str(known.greater_is_better).lower()
            raise WrongKey(f"of {self.metric} it is {direction}; leave it out", "greater_is_better")
        if self.columns and not self.own_function:
            raise WrongKey("only an own function (module:function) gets columns", "columns")
        return self

    @model_validator(mode="after")
    def _fits_its_reference(self) -> Self:
        if self.max_slice_difference is not None and self.slices is None:
            raise WrongKey("needs slices", "max_slice_difference")
        if self.baseline is not None and self.slices is not None:
            raise WrongKey("a baseline file holds no numbers of slices; give against", "slices")
        for key in self._given("slices", "against") if self.metric.startswith(TRAINER_METRIC) else ():
            raise WrongKey(
                f"{self.metric} is a number that the trainer reported: it cannot be scored on other rows or "
                "versions; give threshold or baseline",
                key,
            )
        if self.not_worse is not None and self.baseline is not None:
            raise WrongKey("needs rows: give against, not a baseline file", "not_worse")
        known = KNOWN_METRICS.get(self.metric)
        if self.not_worse is not None and known is not None and not known.resampled:
            names = ", ".join(name for name, metric in OWN_METRICS.items() if metric.resampled)
            raise WrongKey(
                f"{self.metric} is not bootstrapped; allowed: {names}, and own functions that return one "
                "number per row",
                "not_worse",
            )
        return self


_RELATIVE = ("max_regression_abs", "max_regression_rel", "min_improvement", "not_worse")


def _incomplete(references: list[str], bounds: list[str]) -> str | None:
    """Say what a rule against a reference has too much or too little of, or None."""
    rules = f"one of {', '.join(_RELATIVE)}"
    if not references and not bounds:
        return (
            f"no rule; give threshold, or against or baseline with {rules}, or slices with "
            "max_slice_difference"
        )
    if not references:
        return f"{bounds[0]} needs against or baseline"
    if not bounds:
        return f"{references[0]} needs {rules}"
    if len(references) > 1 or len(bounds) > 1:
        several = references if len(references) > 1 else bounds
        return f"{' and '.join(several)} cannot stand in one gate; make a gate of each"
    return None


class RowsGate(_Gate):
    """The holdout has at least this many rows."""

    min_holdout_rows: StrictInt = Field(gt=0)


def _check_coverage(labels: object) -> object:
    if isinstance(labels, list | tuple) and labels and all(isinstance(x, str) and x for x in labels):
        return once("each label once")(labels)
    if isinstance(labels, str) and (labels == CHAMPION or labels.endswith(JSON_FILE)):
        return labels
    hint = nearest(labels, [CHAMPION]) if isinstance(labels, str) else ""
    raise ValueError(
        f"{hint}must be a list of labels (numbers in quotes), {CHAMPION}, or a {JSON_FILE} file with labels"
    )


class LabelCoverageGate(_AgainstAVersion):
    """No label is missing; one that is, is named.

    Attributes:
        label_coverage: A list, ``champion`` (those that it knows), or a JSON file with ``labels``.
        of: Where each label must be: among those the ``model`` knows, in the ``holdout``, among the
            ``predictions``.
        min_rows: Rows of each label that the holdout must have.
    """

    label_coverage: Annotated[tuple[str, ...] | str, BeforeValidator(_check_coverage)]
    of: tuple[Literal["model", "holdout", "predictions"], ...] = Field(
        default=("model", "holdout"), min_length=1
    )
    min_rows: StrictInt = Field(default=1, ge=1)


class ColumnRule(Filled):
    """What a column of the holdout must be.

    Attributes:
        type: Its kind of values.
        min: Smallest allowed value.
        max: Largest allowed value.
        allowed: The values that there may be, nothing else.
        pattern: A regular expression that each text must match whole.
        max_null_share: Share of rows, 0 to 1, that may be empty.
        unique: No value twice.
    """

    type: Literal["number", "integer", "text", "boolean", "datetime"] | None = None
    min: StrictFloat | None = None
    max: StrictFloat | None = None
    allowed: tuple[Scalar, ...] | None = Field(default=None, min_length=1)
    pattern: str | None = None
    max_null_share: StrictFloat = Field(default=0.0, ge=0, le=1)
    unique: StrictBool = False

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"must be a regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise WrongKey(f"must be at most max, which is {self.max:g}", "min")
        for name, types in _ONLY_FOR.items():
            if self.type not in (None, *types) and getattr(self, name) is not None:
                raise WrongKey(f"only for type {' or '.join(types)}; the type is {self.type}", name)
        return self


_ONLY_FOR = {"min": ("number", "integer"), "max": ("number", "integer"), "pattern": ("text",)}


class SchemaGate(_Gate):
    """The holdout's columns are there and hold what they should; checked by Pandera."""

    columns_schema: dict[Name, ColumnRule] = Field(alias="schema", min_length=1)

    @property
    def key(self) -> str:
        """Names the gate where its findings are kept."""
        return self.model_dump_json(by_alias=True)


class OverlapGate(_Gate):
    """Rows of the holdout that are among the training rows too are a leak.

    Attributes:
        max_train_overlap: Share of the holdout's rows, 0 to 1, that training may hold too.
        columns: The columns by which rows are the same; without it the model's inputs.
    """

    max_train_overlap: StrictFloat = Field(ge=0, le=1)
    columns: Columns = ()


class SignatureGate(_AgainstAVersion):
    """Clients of the champion can use the candidate as it is."""

    signature: Literal["compatible"]


class CostName(StrEnum):
    """What a model costs, measured beside the champion in the same process."""

    LATENCY_P95 = "latency_p95"
    THROUGHPUT = "throughput"
    LOAD_TIME = "load_time"
    MODEL_SIZE = "model_size"


class CostGate(_AgainstAVersion):
    """The candidate costs at most so many times what the champion costs; machines differ, ratios less.

    Attributes:
        cost: 95th percentile of the seconds of one row; rows a second in batches; seconds to load; megabytes.
        max_ratio: Candidate over champion at most (all but throughput).
        min_ratio: Candidate over champion at least (throughput).
        max_mb: Megabytes at most, with or without a champion (model size).
    """

    cost: CostName
    max_ratio: StrictFloat | None = Field(default=None, gt=0)
    min_ratio: StrictFloat | None = Field(default=None, gt=0)
    max_mb: StrictFloat | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        fitting = _COST_BOUNDS[self.cost]
        given = [name for name in ("max_ratio", "min_ratio", "max_mb") if getattr(self, name) is not None]
        for name in given:
            if name not in fitting:
                raise WrongKey(f"not for {self.cost}; allowed: {', '.join(fitting)}", name)
        if len(given) != 1:
            one_of = "one of " if len(fitting) > 1 else ""
            raise ValueError(f"{self.cost} needs {one_of}{', '.join(fitting)}")
        return self


_COST_BOUNDS = {
    CostName.LATENCY_P95: ("max_ratio",),
    CostName.THROUGHPUT: ("min_ratio",),
    CostName.LOAD_TIME: ("max_ratio",),
    CostName.MODEL_SIZE: ("max_ratio", "max_mb"),
}


class DisagreementGate(_AgainstAVersion):
    """The candidate answers as the champion does, but for a share of the rows.

    Attributes:
        max_disagreement: Share of rows, 0 to 1.
        tolerance: Of numbers: what differs by more than this share of the champion's answer disagrees.
    """

    max_disagreement: StrictFloat = Field(ge=0, le=1)
    tolerance: StrictFloat = Field(default=0.0, ge=0)


class LiveBound(Filled):
    """No worse than the champion on live rows whose labels came later (``podium compare MODEL --live``).

    Attributes:
        metric: One of Podium's own.
        labelled_rows: So many rows of each version must have a label.
        not_worse: How sure, and by how much it may be worse.
    """

    metric: Name
    labelled_rows: StrictInt = Field(ge=30, le=10_000)
    not_worse: NotWorse = NotWorse()

    @field_validator("metric")
    @classmethod
    def _resampled(cls, metric: str) -> str:
        # What was written live was not tried: no tests are there.
        allowed = [
            name
            for name, known in OWN_METRICS.items()
            if known.resampled and known.task is not Task.GENERATION
        ]
        if metric not in allowed:
            raise ValueError(f"{nearest(metric, allowed)}allowed: {', '.join(allowed)}")
        return metric


class Canary(Filled):
    """How long a version must have been the candidate. Give one; two gates make both needed.

    Attributes:
        days: Days since it was nominated.
        shadow_rows: Rows that it scored beside the champion since then.
        live: How good it must have been beside the champion since then.
    """

    days: StrictFloat | None = Field(default=None, gt=0, le=365)
    shadow_rows: StrictInt | None = Field(default=None, gt=0)
    live: LiveBound | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if [self.days, self.shadow_rows, self.live].count(None) != 2:
            raise ValueError("give one of days, shadow_rows and live; two gates make both needed")
        return self


class CanaryGate(_Gate):
    """The version has been the candidate for a while before anybody may approve it."""

    canary: Canary


Gate = (
    MetricGate
    | RowsGate
    | LabelCoverageGate
    | SchemaGate
    | OverlapGate
    | SignatureGate
    | CostGate
    | DisagreementGate
    | CanaryGate
)

# The key that tells which kind a gate is.
KINDS: dict[str, type[Gate]] = {
    "metric": MetricGate,
    "min_holdout_rows": RowsGate,
    "label_coverage": LabelCoverageGate,
    "schema": SchemaGate,
    "max_train_overlap": OverlapGate,
    "signature": SignatureGate,
    "cost": CostGate,
    "max_disagreement": DisagreementGate,
    "canary": CanaryGate,
}


def kind_of(gate: object) -> str | None:
    """Return the key that tells which kind a gate is, of the mapping in the file or of the parsed gate."""
    if isinstance(gate, Mapping):
        return next((kind for kind in KINDS if kind in gate), None)
    return next((kind for kind, gate_type in KINDS.items() if isinstance(gate, gate_type)), None)


TaggedGate = Annotated[
    Annotated[MetricGate, Tag("metric")]
    | Annotated[RowsGate, Tag("min_holdout_rows")]
    | Annotated[LabelCoverageGate, Tag("label_coverage")]
    | Annotated[SchemaGate, Tag("schema")]
    | Annotated[OverlapGate, Tag("max_train_overlap")]
    | Annotated[SignatureGate, Tag("signature")]
    | Annotated[CostGate, Tag("cost")]
    | Annotated[DisagreementGate, Tag("max_disagreement")]
    | Annotated[CanaryGate, Tag("canary")],
    Discriminator(kind_of),
]


def misfit(gate: Gate, task: Task, labels: Collection[str]) -> WrongKey | None:
    """Say why a gate does not fit the task or the labels of its model, or None."""
    if isinstance(gate, MetricGate) and (wrong := _other_task(gate.metric, task)):
        return WrongKey(wrong, "metric")
    if isinstance(gate, CanaryGate) and gate.canary.live:
        wrong = _other_task(gate.canary.live.metric, task)
        return WrongKey(wrong, "canary", "live", "metric") if wrong else None
    if isinstance(gate, LabelCoverageGate):
        if task is not Task.CLASSIFICATION:
            return WrongKey(f"only a classification has labels; the task is {task}", "label_coverage")
        for place, label in enumerate(gate.label_coverage if isinstance(gate.label_coverage, tuple) else ()):
            if label not in labels:
                return WrongKey(no_label(label, labels), "label_coverage", place)
    return None


def _other_task(metric: str, task: Task) -> str:
    known = KNOWN_METRICS.get(metric)
    if known is None or known.task is task:
        return ""
    allowed = ", ".join(name for name, other in OWN_METRICS.items() if other.task is task)
    return f"is for {known.task}, the task is {task}; allowed of Podium's own: {allowed}"


def no_label(label: str, labels: Collection[str]) -> str:
    """Say that a name is none of the labels."""
    return f"no such label; {nearest(label, labels)}allowed: {', '.join(labels)}"
