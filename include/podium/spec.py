"""The model file: one reviewed YAML per model, parsed into frozen objects that refuse unknown keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from croniter import croniter
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from podium.errors import NotFound, SpecError
from podium.gate_spec import CanaryGate, Gate, LabelCoverageGate, Level, TaggedGate, check_task
from podium.metric_names import Task
from podium.spec_errors import explain
from podium.spec_types import Closed, Duration, ImportPath, Name

ROLE = "role:"


def _check_cron(value: str) -> str:
    if not croniter.is_valid(value):
        raise ValueError("a cron expression such as '0 6 * * 1' (UTC), or null for no schedule")
    return value


class DataSpec(Closed):
    """Where the rows come from and what their columns mean.

    Attributes:
        source: A csv (also .gz) or parquet file; relative to the project's top folder.
        examples: Import path of a function ``rows -> examples`` that makes the labelled examples (one row
            each, with the time, label and input columns); without it the rows are the examples.
        time_column: When a row became known. Rows at or after a run's ``as_of`` are never seen. Without it
            every run sees all rows.
        time_formats: How times are written, tried in this order: ``ISO8601``, or formats of ``strptime``.
        time_resolution: ``day``: the time column says on which day, so a run sees whole days before the day
            of its ``as_of`` only; ``moment``: it says when, and a run sees all rows before its ``as_of``.
        label: The column to predict.
        label_map: Other names that a label has in the source (case does not matter), and the label meant.
        inputs: The model's input columns, in the order in which it gets them.
        undated: What a row does whose time cannot be read: ``fail`` the run, or ``drop`` out, counted.
        unlabelled: The same of a row without a label.
        unknown_labels: The same of a label that the model file does not list.
        duplicates: Rows that repeat an earlier one: ``keep`` them, or ``drop`` them, counted.
        group: Of a ranking: the column whose equal values are one list.
    """

    source: str = Field(min_length=1)
    examples: ImportPath | None = None
    time_column: Name | None = None
    time_formats: tuple[Name, ...] = Field(default=("ISO8601",), min_length=1)
    time_resolution: Literal["day", "moment"] = "day"
    label: Name
    label_map: dict[Name, Name] = Field(default_factory=dict)
    inputs: tuple[Name, ...] = Field(min_length=1)
    undated: Literal["fail", "drop"] = "fail"
    unlabelled: Literal["fail", "drop"] = "fail"
    unknown_labels: Literal["fail", "drop"] = "fail"
    duplicates: Literal["keep", "drop"] = "keep"
    group: Name | None = None

    @model_validator(mode="after")
    def _inputs_leak_nothing(self) -> Self:
        if self.label in self.inputs:
            raise ValueError(f"inputs must not hold the label '{self.label}'")
        if len(set(self.inputs)) != len(self.inputs):
            raise ValueError("inputs: each column once")
        return self

    @field_validator("label_map")
    @classmethod
    def _each_name_once(cls, label_map: dict[str, str]) -> dict[str, str]:
        names = [name.strip().casefold() for name in label_map]
        if len(set(names)) != len(names):
            raise ValueError("each name once; case does not matter")
        return label_map


class HoldoutSpec(Closed):
    """The rows that are kept from the trainer and scored by the gates.

    Attributes:
        days: The newest days before ``as_of``.
        share: Or a share of the rows, 0 to 1, chosen by their content: a row stays on its side for good.
        by: With ``share``: rows of an equal value of this column stay together, else those of equal inputs.
    """

    days: int | None = Field(default=None, gt=0)
    share: float | None = Field(default=None, gt=0, lt=1)
    by: Name | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.days is None) == (self.share is None):
            raise ValueError("give either days or share")
        if self.by is not None and self.share is None:
            raise ValueError("by goes with share")
        return self

    def in_words(self) -> str:
        """Say which rows are held out."""
        return (
            f"holdout: {self.days} days"
            if self.days is not None
            else f"holdout: {self.share:.0%} of the rows"
        )


class ApprovalSpec(Closed):
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

    approvers: tuple[Name, ...] = Field(min_length=1)
    required: int = Field(default=1, ge=1)
    prevent_self_approval: bool = True
    reason_min_length: int = Field(default=10, ge=1)
    checklist: tuple[Name, ...] = ()
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


class RetentionSpec(Closed):
    """How many old versions to keep besides the aliased ones. Kept on record; nothing is deleted yet."""

    keep_versions: int = Field(default=20, gt=0)


class ModelSpec(Closed):
    """One model file."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)
    owner: str = Field(min_length=1)
    description: str = Field(min_length=1)
    trainer: ImportPath
    task: Task
    labels: tuple[str, ...] = ()
    data: DataSpec
    holdout: HoldoutSpec
    params: dict[str, int | float | str | bool] = Field(default_factory=dict)
    requirements: tuple[str, ...] = Field(min_length=1)
    skops_trusted_types: tuple[str, ...] = ()
    schedule: Annotated[str, AfterValidator(_check_cron)] | None = None
    gates: tuple[TaggedGate, ...] = Field(min_length=1)
    approval: ApprovalSpec
    champion_moved_outside: Literal["ask", "revert"] = "ask"
    retention: RetentionSpec = RetentionSpec()

    @model_validator(mode="after")
    def _labels_fit_the_task(self) -> Self:
        if self.task is not Task.CLASSIFICATION:
            if self.labels or self.data.label_map:
                raise ValueError(
                    f"labels and data.label_map are for a classification, the task is {self.task}"
                )
        elif len(self.labels) < 2:
            raise ValueError("labels: a classification needs at least 2")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: each label once")
        for name, label in self.data.label_map.items():
            if label not in self.labels:
                raise ValueError(
                    f"data.label_map.{name}: '{label}' is no label; allowed: {', '.join(self.labels)}"
                )
        if (self.task is Task.RANKING) != (self.data.group is not None):
            raise ValueError("data.group: a ranking needs it, and no other task has it")
        return self

    @model_validator(mode="after")
    def _holdout_fits_the_data(self) -> Self:
        if self.holdout.days is not None and self.data.time_column is None:
            raise ValueError("holdout.days needs data.time_column; without times give holdout.share")
        return self

    @model_validator(mode="after")
    def _gates_fit_the_model(self) -> Self:
        for place, gate in enumerate(self.gates):
            problem = check_task(gate, self.task) or self._misfit(gate)
            if gate in self.gates[:place]:
                problem = f"the same as gates[{self.gates.index(gate)}]"
            if problem:
                raise ValueError(
                    f"gates[{place}].{problem}" if ":" in problem else f"gates[{place}]: {problem}"
                )
        if all(gate.level is Level.ADVISORY for gate in self.gates):
            raise ValueError("gates: all are advisory, so nothing is judged; at least one must be required")
        return self

    def _misfit(self, gate: Gate) -> str | None:
        if isinstance(gate, LabelCoverageGate) and isinstance(gate.label_coverage, tuple):
            for label in gate.label_coverage:
                if label not in self.labels:
                    return f"label_coverage: '{label}' is no label; allowed: {', '.join(self.labels)}"
        days = gate.canary.days if isinstance(gate, CanaryGate) else None
        if days is not None and timedelta(days=days) >= self.approval.expires_after:
            return (
                f"canary.days: {days:g} days are not over before a request expires (approval.expires_after)"
            )
        return None

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
        raise SpecError(path, [explain(item, ModelSpec) for item in error.errors()]) from error


def load_specs(folder: Path) -> tuple[dict[str, ModelSpec], list[SpecError]]:
    """Read all model files of a folder, in the order of their names; see ``load_specs_of``."""
    return load_specs_of(sorted(folder.glob("*.yaml")))


def load_specs_of(files: Iterable[Path]) -> tuple[dict[str, ModelSpec], list[SpecError]]:
    """Read model files.

    Returns:
        The good models by name, and an error for each wrong file: one wrong file stops no other model.
    """
    specs: dict[str, ModelSpec] = {}
    paths: dict[str, Path] = {}
    errors: list[SpecError] = []
    for path in files:
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
