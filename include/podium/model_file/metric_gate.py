"""The gate on a metric: what it compares with, its bounds and its slices."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    WithJsonSchema,
    model_validator,
)

from podium.model_file.metric_names import KNOWN_METRICS, OWN_METRICS, TRAINER_METRIC
from podium.model_file.types import (
    IMPORT_PATH,
    Columns,
    Filled,
    Name,
    WrongKey,
    check_import_path,
    is_number,
    nearest,
    once,
)
from podium.names import LONGEST_IN_MLFLOW, name_from_mlflow, name_in_mlflow

MOST_BINS = 50


class Level(StrEnum):
    """A required gate refuses a version; an advisory one is only shown to the approver."""

    REQUIRED = "required"
    ADVISORY = "advisory"


def _check_length(name: str) -> str:
    if name_from_mlflow(name_in_mlflow(name)) != name:
        raise ValueError(f"too long: MLflow keeps names of at most {LONGEST_IN_MLFLOW} characters")
    return name


def _check_metric(name: str) -> str:
    if name.startswith(TRAINER_METRIC) and ":" in name:
        raise ValueError(
            f"{TRAINER_METRIC}NAME is a number of the trainer; an own function needs a module that is not "
            f"called {TRAINER_METRIC.removesuffix('.')}"
        )
    if name in KNOWN_METRICS:
        return name
    if re.fullmatch(IMPORT_PATH, name):
        return check_import_path(name)
    if name.startswith(TRAINER_METRIC) and len(name) > len(TRAINER_METRIC):
        return _check_length(name)
    raise ValueError(
        f"no such metric; {nearest(name, KNOWN_METRICS)}allowed: {', '.join(OWN_METRICS)}, the scorers of "
        f"scikit-learn, an own function as module:function, a number of the trainer as {TRAINER_METRIC}NAME"
    )


_METRIC = WithJsonSchema(
    {
        "anyOf": [
            {"enum": list(KNOWN_METRICS)},
            {"type": "string", "pattern": ":"},
            {"type": "string", "pattern": rf"^{re.escape(TRAINER_METRIC)}[^:]"},
        ]
    }
)


class _Gate(Filled):
    """What every gate may say."""

    level: Level = Field(
        default=Level.REQUIRED,
        description="`required`: a failed gate refuses the version; `advisory`: it is only shown to the "
        "approver.",
    )


class _AgainstAVersion(_Gate):
    """A gate that needs a champion (or candidate) to compare with."""

    no_champion: Literal["pass", "fail"] = Field(
        default="pass",
        description="If there is no version to compare with: `pass` says so on the report, `fail` refuses "
        "the version.",
    )


class Certainty(Filled):
    """The candidate is no worse, with this confidence."""

    confidence: StrictFloat = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="One-sided confidence that the regression is at most `margin`.",
    )
    margin: StrictFloat = Field(
        default=0.0,
        ge=0,
        description="How much worse the metric may be. With 0 two equally good models pass only once in "
        "20 runs at 0.95.",
    )


class NotWorse(Certainty):
    """The candidate is no worse, with this confidence, by paired bootstrap on the holdout's rows."""

    resamples: StrictInt = Field(
        default=2000,
        ge=100,
        le=100_000,
        description="How often the rows are drawn with replacement at first; up to 50,000 times while the "
        "verdict is within the noise.",
    )
    seed: StrictInt = Field(
        default=0, ge=0, description="Seed of the drawing: equal seeds give equal intervals."
    )


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
    """The rows of a gate, one slice per value or bin of a column."""

    column: Name = Field(description="A column of the examples; the model need not see it.")
    values: Annotated[tuple[Name, ...], AfterValidator(once("each value once"))] | None = Field(
        default=None,
        min_length=1,
        description="The values to evaluate, as text; each must occur. Without it all values.",
    )
    bins: Annotated[int | tuple[float, ...], BeforeValidator(_check_bins)] | None = Field(
        default=None,
        description="For a column of numbers: how many bins of equal size, or their inner edges.",
    )
    min_support: StrictInt = Field(
        default=30, ge=1, description="A slice with fewer rows is too small to be evaluated."
    )
    below_support: Literal["fail", "waive"] = Field(
        default="fail",
        description="A slice that is too small: `fail` the gate, or `waive` the slice on record.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.values is not None and self.bins is not None:
            raise ValueError("give values or bins, not both")
        return self


class MetricGate(_AgainstAVersion):
    """One rule on one metric of the candidate on the holdout."""

    metric: Annotated[str, AfterValidator(_check_metric), _METRIC] = Field(
        description="A metric of Podium or scikit-learn, an own function as `module:function`, or the "
        "trainer's number as `trainer.NAME`."
    )
    greater_is_better: StrictBool | None = Field(
        default=None,
        description="Direction of an own function or of the trainer's number; other directions are known.",
    )
    columns: Columns = Field(default=(), description="Columns of the examples that an own function gets.")
    threshold: StrictFloat | None = Field(default=None, description="The absolute bound.")
    against: Name | None = Field(
        default=None,
        description="Reference on the same rows: `champion`, `candidate` or a baseline of the trainer.",
    )
    baseline: Name | None = Field(
        default=None,
        description="Reference in a JSON file of metrics by name, relative to the project's top folder.",
    )
    max_regression_abs: StrictFloat | None = Field(
        default=None, ge=0, description="No worse than the reference by more than this."
    )
    max_regression_rel: StrictFloat | None = Field(
        default=None, ge=0, description="No worse than the reference by more than this share of it."
    )
    min_improvement: StrictFloat | None = Field(
        default=None, ge=0, description="Better than the reference by at least this."
    )
    not_worse: NotWorse | None = Field(
        default=None,
        description="No worse than the reference with a confidence, by paired bootstrap of the rows.",
    )
    max_slice_difference: StrictFloat | None = Field(
        default=None, ge=0, description="Largest difference between the candidate's best and worst slice."
    )
    slices: Slices | None = Field(
        default=None, description="Evaluate each slice of the rows instead of all rows together."
    )

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
            raise WrongKey(f"missing; the direction of {self.metric} is unknown", "greater_is_better")
        if known is not None and self.greater_is_better not in (None, known.greater_is_better):
            direction = str(known.greater_is_better).lower()
            raise WrongKey(f"is always {direction} for {self.metric}; leave it out", "greater_is_better")
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
