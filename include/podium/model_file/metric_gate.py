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
    model_validator,
)

from podium.model_file.metric_names import KNOWN_METRICS, OWN_METRICS, TRAINER_METRIC
from podium.model_file.types import IMPORT_PATH, Columns, Filled, Name, WrongKey, is_number, nearest, once

MOST_BINS = 50


class Level(StrEnum):
    """A required gate refuses a version; an advisory one is only shown to the approver."""

    REQUIRED = "required"
    ADVISORY = "advisory"


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
