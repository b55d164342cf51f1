"""The grammar of the gates: what may stand under ``gates:`` in a model file (docs/gates.md)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from podium.model_file.metric_gate import Certainty, MetricGate, _AgainstAVersion, _Gate
from podium.model_file.metric_names import KNOWN_METRICS, OWN_METRICS, TaskKind
from podium.model_file.types import (
    Columns,
    Filled,
    Name,
    Scalar,
    WrongKey,
    nearest,
    once,
)
from podium.names import CHAMPION

JSON_FILE = ".json"


class RowsGate(_Gate):
    """The holdout has at least this many rows."""

    min_holdout_rows: StrictInt = Field(gt=0, description="Fewest rows that the holdout must have.")


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
    """Every label occurs; the report names each that is missing."""

    label_coverage: Annotated[tuple[str, ...] | str, BeforeValidator(_check_coverage)] = Field(
        description="A list of labels, `champion` for those it knows, or a `.json` file with `labels`."
    )
    of: tuple[Literal["model", "holdout", "predictions"], ...] = Field(
        default=("model", "holdout"),
        min_length=1,
        description="Where each label must occur: known to the `model`, in the `holdout`, in the "
        "`predictions`.",
    )
    min_rows: StrictInt = Field(
        default=1, ge=1, description="Fewest rows of each label that the holdout must have."
    )


class ColumnRule(Filled):
    """What a column of the holdout must be."""

    type: Literal["number", "integer", "text", "boolean", "datetime"] | None = Field(
        default=None, description="Kind of values."
    )
    min: StrictFloat | None = Field(default=None, description="Smallest allowed value.")
    max: StrictFloat | None = Field(default=None, description="Largest allowed value.")
    allowed: tuple[Scalar, ...] | None = Field(
        default=None, min_length=1, description="The only allowed values."
    )
    pattern: str | None = Field(
        default=None, description="A regular expression that each text must match as a whole."
    )
    max_null_share: StrictFloat = Field(
        default=0.0, ge=0, le=1, description="Largest share of rows, 0 to 1, that may be empty."
    )
    unique: StrictBool = Field(default=False, description="No value may occur twice.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
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
    """The holdout has these columns with the right values; checked by Pandera."""

    columns_schema: dict[Name, ColumnRule] = Field(
        alias="schema",
        min_length=1,
        description="The required columns by name, each with the rules for its values.",
    )

    @property
    def key(self) -> str:
        """Names the gate where its findings are kept."""
        return self.model_dump_json(by_alias=True)


class OverlapGate(_Gate):
    """Rows of the holdout that are also training rows are a leak."""

    max_train_overlap: StrictFloat = Field(
        ge=0, le=1, description="Largest share of the holdout's rows, 0 to 1, that may also be training rows."
    )
    columns: Columns = Field(
        default=(), description="Columns that identify a row; without them the model's inputs."
    )


class SignatureGate(_AgainstAVersion):
    """Clients of the champion can use the candidate as it is."""

    signature: Literal["compatible"] = Field(
        description="`compatible`: clients of the champion can use the candidate unchanged."
    )


class CostName(StrEnum):
    """What a model costs, measured beside the champion in the same process."""

    LATENCY_P95 = "latency_p95"
    THROUGHPUT = "throughput"
    LOAD_TIME = "load_time"
    MODEL_SIZE = "model_size"


class CostGate(_AgainstAVersion):
    """The candidate costs at most a multiple of the champion; machines differ, ratios less."""

    cost: CostName = Field(
        description="Compared cost: p95 latency of one row, rows per second in batches, load time, or size."
    )
    max_ratio: StrictFloat | None = Field(
        default=None,
        gt=0,
        description="Largest allowed ratio of candidate to champion; for all but `throughput`.",
    )
    min_ratio: StrictFloat | None = Field(
        default=None, gt=0, description="Smallest allowed ratio of candidate to champion; for `throughput`."
    )
    max_mb: StrictFloat | None = Field(
        default=None,
        gt=0,
        description="Largest size in megabytes, with or without a champion; for `model_size`.",
    )

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
    """Candidate and champion disagree on at most a share of the rows."""

    max_disagreement: StrictFloat = Field(
        ge=0, le=1, description="Largest share of rows, 0 to 1, on which candidate and champion may disagree."
    )
    tolerance: StrictFloat = Field(
        default=0.0,
        ge=0,
        description="For numbers: they disagree if they differ by more than this share of the champion's.",
    )


# What was written live was not tried: no tests are there.
_LIVE_METRICS = [
    name for name, known in OWN_METRICS.items() if known.resampled and known.task is not TaskKind.GENERATION
]


class LiveBound(Filled):
    """No worse than the champion on live rows with later labels (`podium compare MODEL --live`)."""

    metric: Annotated[Name, WithJsonSchema({"enum": _LIVE_METRICS})] = Field(
        description="The metric to compare: one of Podium's own whose intervals hold at every look."
    )
    labelled_rows: StrictInt = Field(
        ge=30, le=10_000, description="Live rows with a label that each version must have."
    )
    not_worse: Certainty = Field(
        default=Certainty(), description="How certain it must be, and how much worse the candidate may be."
    )

    @field_validator("metric")
    @classmethod
    def _resampled(cls, metric: str) -> str:
        if metric in KNOWN_METRICS and metric not in _LIVE_METRICS:
            raise ValueError(
                "no interval of it holds at every look, and a canary is looked at again and again; allowed: "
                f"{', '.join(_LIVE_METRICS)}"
            )
        if metric not in _LIVE_METRICS:
            raise ValueError(f"{nearest(metric, _LIVE_METRICS)}allowed: {', '.join(_LIVE_METRICS)}")
        return metric


class Canary(Filled):
    """How long, or how well, a version must have run as candidate: give one key; make a gate of each."""

    days: StrictFloat | None = Field(
        default=None, gt=0, le=365, description="Days since the version was nominated."
    )
    shadow_rows: StrictInt | None = Field(
        default=None,
        gt=0,
        description="Rows that the version has scored beside the champion since its nomination.",
    )
    live: LiveBound | None = Field(
        default=None, description="No worse than the champion on live rows since its nomination."
    )

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if [self.days, self.shadow_rows, self.live].count(None) != 2:
            raise ValueError("give one of days, shadow_rows and live; two gates make both needed")
        return self


class CanaryGate(_Gate):
    """Nobody can approve the version before it has been the candidate for a while."""

    canary: Canary = Field(description="How long, or how well, the version must have run as candidate.")


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


def gate_columns(gate: Gate) -> list[str]:
    """Return the columns of the examples that a gate looks at, beside what the model takes."""
    if isinstance(gate, SchemaGate):
        return list(gate.columns_schema)
    if isinstance(gate, OverlapGate):
        return list(gate.columns)
    if isinstance(gate, MetricGate):
        return [*gate.columns, *([] if gate.slices is None else [gate.slices.column])]
    return []


def misfit(gate: Gate, task: TaskKind, labels: Collection[str]) -> WrongKey | None:
    """Say why a gate does not fit the task or the labels of its model, or None."""
    if isinstance(gate, MetricGate) and (wrong := _other_task(gate.metric, task)):
        return WrongKey(wrong, "metric")
    if isinstance(gate, CanaryGate) and gate.canary.live:
        wrong = _other_task(gate.canary.live.metric, task)
        return WrongKey(wrong, "canary", "live", "metric") if wrong else None
    if isinstance(gate, LabelCoverageGate):
        if task is not TaskKind.CLASSIFICATION:
            return WrongKey(f"only a classification has labels; the task is {task}", "label_coverage")
        for place, label in enumerate(gate.label_coverage if isinstance(gate.label_coverage, tuple) else ()):
            if label not in labels:
                return WrongKey(no_label(label, labels), "label_coverage", place)
    return None


def _other_task(metric: str, task: TaskKind) -> str:
    known = KNOWN_METRICS.get(metric)
    if known is None or known.task is task:
        return ""
    allowed = ", ".join(name for name, other in OWN_METRICS.items() if other.task is task)
    return f"is for {known.task}, the task is {task}; allowed of Podium's own: {allowed}"


def no_label(label: str, labels: Collection[str]) -> str:
    """Say that a name is none of the labels."""
    return f"no such label; {nearest(label, labels)}allowed: {', '.join(labels)}"
