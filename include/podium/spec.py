"""The model file: one reviewed YAML per model, parsed into frozen objects that refuse unknown keys."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from croniter import croniter
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from podium.errors import NotFound, SpecError

ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
ColumnName = Annotated[str, Field(min_length=1)]

LONGEST_DURATION = timedelta(days=365)
_DURATION = re.compile(r"^(\d+)\s*(s|m|h|d)$")
ROLE = "role:"
_DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _parse_duration(value: object) -> object:
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is not None and len(match[1]) < 9:
        duration = timedelta(**{_DURATION_UNITS[match[2]]: int(match[1])})
        if timedelta(0) < duration <= LONGEST_DURATION:
            return duration
    raise ValueError("a duration such as 30m, 12h or 3d (s, m, h, d; more than zero, at most 365d)")


Duration = Annotated[timedelta, BeforeValidator(_parse_duration)]


def _check_cron(value: str) -> str:
    if not croniter.is_valid(value):
        raise ValueError("a cron expression such as '0 6 * * 1' (UTC), or null for no schedule")
    return value


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Metric(StrEnum):
    """Metrics of a classifier's predicted probabilities; see ``podium.metrics`` for the formulas."""

    LOG_LOSS = "log_loss"
    ACCURACY = "accuracy"
    BRIER_SCORE = "brier_score"
    RANKED_PROBABILITY_SCORE = "ranked_probability_score"


class DataSpec(_Closed):
    """Where the rows come from and what their columns mean.

    Attributes:
        source: A csv (also .gz) or parquet file; relative to the project's top folder.
        examples: Import path of a function ``rows -> examples`` that makes the labelled examples (one row
            each, with the time, label and input columns); without it the rows are the examples.
        time_column: When a row became known. Rows at or after a run's ``as_of`` are never seen.
        time_resolution: ``day``: the time column says on which day, so a run sees whole days before the day
            of its ``as_of`` only; ``moment``: it says when, and a run sees all rows before its ``as_of``.
        label: The column to predict.
        inputs: The model's input columns, in the order in which it gets them.
    """

    source: str = Field(min_length=1)
    examples: ImportPath | None = None
    time_column: ColumnName
    time_resolution: Literal["day", "moment"] = "day"
    label: ColumnName
    inputs: tuple[ColumnName, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _inputs_leak_nothing(self) -> Self:
        if self.label in self.inputs:
            raise ValueError(f"inputs must not hold the label '{self.label}'")
        if len(set(self.inputs)) != len(self.inputs):
            raise ValueError("inputs: each column once")
        return self


class HoldoutSpec(_Closed):
    """The newest days before ``as_of``, kept from the trainer and scored by the gates."""

    days: int = Field(gt=0)


class MetricGate(_Closed):
    """One rule on one metric of the candidate on the holdout.

    Give one of: ``threshold`` (absolute bound), or ``against`` with ``max_regression_abs`` (no worse than it
    by more than this) or ``min_improvement`` (better than it by at least this). ``against`` names
    ``champion`` or one of the trainer's baselines; either is scored on the same rows as the candidate.
    """

    metric: Metric
    threshold: float | None = None
    against: str | None = Field(default=None, min_length=1)
    max_regression_abs: float | None = Field(default=None, ge=0)
    min_improvement: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        relative = [self.max_regression_abs, self.min_improvement]
        if self.threshold is not None:
            if self.against is not None or any(bound is not None for bound in relative):
                raise ValueError("threshold is absolute: give it alone, and relative rules as further gates")
        elif self.against is None or sum(bound is not None for bound in relative) != 1:
            raise ValueError(
                "give either threshold, or against with one of max_regression_abs, min_improvement"
            )
        return self


class RowsGate(_Closed):
    """The holdout has at least this many rows."""

    min_holdout_rows: int = Field(gt=0)


def _gate_kind(value: object) -> str:
    keys = value if isinstance(value, Mapping) else getattr(value, "model_fields_set", ())
    return "rows_gate" if "min_holdout_rows" in keys else "metric_gate"


Gate = MetricGate | RowsGate
_TaggedGate = Annotated[
    Annotated[MetricGate, Tag("metric_gate")] | Annotated[RowsGate, Tag("rows_gate")],
    Discriminator(_gate_kind),
]


class ApprovalSpec(_Closed):
    """Who may decide, and how.

    Attributes:
        approvers: Names of Airflow users, as they log in, and of Airflow roles with ``role:`` before them.
        required: How many distinct people must approve. One rejection is enough.
        prevent_self_approval: Whoever triggered the run may not approve it.
        reason_min_length: Characters that a reason must have at least.
        checklist: Statements that each approver must tick.
        expires_after: How long a request waits; then it is recorded as expired.
        valid_for: How long after the approval the promotion may still begin.
    """

    approvers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    required: int = Field(default=1, ge=1)
    prevent_self_approval: bool = True
    reason_min_length: int = Field(default=10, ge=1)
    checklist: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    expires_after: Duration = timedelta(days=3)
    valid_for: Duration = timedelta(days=1)

    @model_validator(mode="after")
    def _enough_approvers(self) -> Self:
        if len(set(self.approvers)) != len(self.approvers):
            raise ValueError("approvers: each name once")
        if ROLE in self.approvers:
            raise ValueError(f"approvers: '{ROLE}' names no role; write {ROLE}NAME")
        if len(set(self.checklist)) != len(self.checklist):
            raise ValueError("checklist: each statement once")
        only_users = not any(name.startswith(ROLE) for name in self.approvers)
        if only_users and len(self.approvers) < self.required:
            raise ValueError(
                f"{self.required} people are required, but only {len(self.approvers)} may approve"
            )
        return self


class RetentionSpec(_Closed):
    """How many old versions to keep besides the aliased ones. Kept on record; nothing is deleted yet."""

    keep_versions: int = Field(default=20, gt=0)


class ModelSpec(_Closed):
    """One model file."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)
    owner: str = Field(min_length=1)
    description: str = Field(min_length=1)
    trainer: ImportPath
    task: Literal["classification"]
    labels: tuple[str, ...] = Field(min_length=2)
    data: DataSpec
    holdout: HoldoutSpec
    params: dict[str, int | float | str | bool] = Field(default_factory=dict)
    requirements: tuple[str, ...] = Field(min_length=1)
    skops_trusted_types: tuple[str, ...] = ()
    schedule: Annotated[str, AfterValidator(_check_cron)] | None = None
    gates: tuple[_TaggedGate, ...] = Field(min_length=1)
    approval: ApprovalSpec
    champion_moved_outside: Literal["ask", "revert"] = "ask"
    retention: RetentionSpec = RetentionSpec()

    @field_validator("labels")
    @classmethod
    def _each_label_once(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError("each label once")
        return labels

    @property
    def lifecycle_dag_id(self) -> str:
        """The id of the Dag that runs this model's lifecycle."""
        return f"lifecycle_{self.name.replace('-', '_')}"


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a key stand twice, and the last one wins; here it is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_spec(path: Path) -> ModelSpec:
    """Read one model file.

    Raises:
        SpecError: The file is not YAML, or a key is unknown, missing or has a value that is not allowed.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(path, [f"not a YAML file that can be read: {error}"]) from error
    except OSError as error:
        raise SpecError(path, [f"cannot be read: {error.strerror}"]) from error
    if not isinstance(content, dict):
        raise SpecError(path, ["a model file is a mapping of keys, starting with name: ..."])
    try:
        return ModelSpec.model_validate(content)
    except ValidationError as error:
        raise SpecError(path, [_explain(item) for item in error.errors()]) from error


def load_specs(folder: Path) -> tuple[dict[str, ModelSpec], list[SpecError]]:
    """Read all model files of a folder, in the order of their names.

    Returns:
        The good models by name, and an error for each wrong file: one wrong file stops no other model.
    """
    specs: dict[str, ModelSpec] = {}
    paths: dict[str, Path] = {}
    errors: list[SpecError] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            spec = load_spec(path)
        except SpecError as error:
            errors.append(error)
            continue
        if spec.name in specs:
            errors.append(SpecError(path, [f"name: '{spec.name}' is already used by {paths[spec.name]}"]))
            continue
        specs[spec.name], paths[spec.name] = spec, path
    return specs, errors


def find_spec(folder: Path, name: str) -> ModelSpec:
    """Read the model file of one model.

    Raises:
        NotFound: No good model file has this name.
    """
    specs, errors = load_specs(folder)
    if name in specs:
        return specs[name]
    known = ", ".join(specs) or "none"
    broken = "".join(f"\n{error}" for error in errors)
    raise NotFound(f"no model '{name}' in {folder}; there are: {known}{broken}")


def training_digest(spec: ModelSpec, params: Mapping[str, Any]) -> str:
    """Digest of all in the model file that decides what training makes, with the run's params (sha256)."""
    decides = spec.model_dump(
        mode="json", include={"trainer", "task", "labels", "data", "holdout", "skops_trusted_types"}
    )
    canonical = yaml.safe_dump([decides, dict(params)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _explain(item: Any) -> str:
    """One pydantic error as 'key: what is wrong', with the value and what is allowed."""
    location = tuple(part for part in item["loc"] if part not in ("metric_gate", "rows_gate"))
    key = _key(location)
    kind, value = item["type"], item["input"]
    if kind == "extra_forbidden":
        return f"{key}: unknown key{_nearest(location)}"
    if kind == "missing":
        return f"{key}: missing"
    message = item["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch" and item["ctx"]["pattern"] == _pattern_of(ImportPath):
        message = "must be an import path such as trainers.my_model:train"
    elif kind == "string_pattern_mismatch":
        message = "must be lower-case words and digits joined by '-', such as soccer-match-outcome"
    elif kind == "too_short":
        message = f"needs at least {item['ctx']['min_length']}"
    shown = "" if isinstance(value, dict) else f" {value!r}:"
    return f"{key}:{shown} {message}"


def _pattern_of(annotated: Any) -> str:
    field = get_args(annotated)[1]
    return str(next(item.pattern for item in field.metadata if hasattr(item, "pattern")))


def _key(location: Iterable[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "model file"


def _nearest(location: tuple[int | str, ...]) -> str:
    """' (did you mean ...; allowed: ...)' for an unknown key."""
    allowed = sorted(_allowed_keys(location[:-1]))
    close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"; {hint}allowed: {', '.join(allowed)}"


def _allowed_keys(location: tuple[int | str, ...]) -> Iterator[str]:
    sections: dict[str, tuple[type[BaseModel], ...]] = {
        "data": (DataSpec,),
        "holdout": (HoldoutSpec,),
        "gates": (MetricGate, RowsGate),
        "approval": (ApprovalSpec,),
        "retention": (RetentionSpec,),
    }
    for model in sections[str(location[0])] if location else (ModelSpec,):
        yield from model.model_fields
