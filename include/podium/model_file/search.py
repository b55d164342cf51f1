"""The section ``search`` of the model file: which params a training run tries, and what is best."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, WithJsonSchema, model_validator

from podium.model_file.metric_names import KNOWN_METRICS
from podium.model_file.types import Closed, HoldoutSpec, Name, Scalar, WrongKey, is_number


class Dimension(Closed):
    """What one param may be."""

    type: Literal["float", "int", "categorical"] = Field(
        default="float",
        description="`float` or `int` from `low` to `high`, both included, or `categorical`: one of "
        "`choices`.",
    )
    low: StrictFloat | None = Field(
        default=None, description="Smallest value; required unless `categorical`."
    )
    high: StrictFloat | None = Field(
        default=None, description="Largest value; required unless `categorical`."
    )
    log: StrictBool = Field(
        default=False,
        description="Try values on the logarithmic scale, for params that span several orders of magnitude.",
    )
    choices: tuple[Scalar | None, ...] = Field(
        default=(), description="The allowed values; only for `categorical`, and required there."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.type == "categorical":
            return self._has_choices()
        if self.choices:
            raise WrongKey("only for type categorical", "choices")
        if self.low is None or self.high is None:
            raise WrongKey("missing", "low" if self.low is None else "high")
        if self.low >= self.high:
            raise WrongKey(f"must be less than high, which is {self.high:g}", "low")
        if self.log and self.low <= 0:
            raise WrongKey("must be greater than 0 on a logarithmic scale (log: true)", "low")
        for name, value in (("low", self.low), ("high", self.high)):
            if self.type == "int" and not value.is_integer():
                raise WrongKey("must be a whole number, as type is int", name)
        return self

    def _has_choices(self) -> Self:
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                raise WrongKey("only for type float or int", name)
        if self.log:
            raise WrongKey("only for type float or int", "log")
        if len(self.choices) < 2:
            raise WrongKey("needs at least 2", "choices")
        for place, choice in enumerate(self.choices):
            if any(_same(choice, earlier) for earlier in self.choices[:place]):
                raise WrongKey("each choice once", "choices", place)
        return self

    def problem(self, value: object) -> str:
        """Say why a param cannot have this value; "" if it can."""
        if self.type == "categorical":
            there = any(_same(value, choice) for choice in self.choices)
            return "" if there else f"must be one of {', '.join(map(str, self.choices))}"
        low, high = self.low or 0.0, self.high or 0.0
        fits = isinstance(value, int) if self.type == "int" else True
        if not is_number(value) or not fits or not low <= float(str(value)) <= high:
            kind = "a whole number" if self.type == "int" else "a number"
            return f"must be {kind} from {low:g} to {high:g}"
        return ""


class SearchSpec(Closed):
    """A hyperparameter search before the model is fitted."""

    trials: StrictInt = Field(
        ge=1,
        le=10_000,
        description="How often the trainer is called to try params; the model is fitted with the best.",
    )
    metric: Annotated[Name, WithJsonSchema({"enum": list(KNOWN_METRICS)})] = Field(
        description="The metric to optimise, in its own direction: one of Podium or scikit-learn."
    )
    validation: HoldoutSpec = Field(
        description="The part of the training examples that scores the trials; never the holdout."
    )
    space: dict[Name, Dimension] = Field(
        min_length=1,
        description="The params to try, by name; each has a value under `params`, which is tried first.",
    )
    seed: StrictInt = Field(
        default=0, ge=0, lt=2**32, description="Seed of the sampler: equal seeds try equal params."
    )

    @property
    def greater_is_better(self) -> bool:
        """The direction of the metric."""
        return KNOWN_METRICS[self.metric].greater_is_better

    def without(self, names: Collection[str]) -> SearchSpec | None:
        """Return the search of the other params; None if there is none left."""
        space = {name: dimension for name, dimension in self.space.items() if name not in names}
        return self.model_copy(update={"space": space}) if space else None


def _same(value: object, other: object) -> bool:
    """True and 1 are two values."""
    return type(value) is type(other) and value == other
