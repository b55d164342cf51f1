"""The model file: one reviewed YAML per model, parsed into frozen objects that refuse unknown keys."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from podium.errors import NotFound, SpecError
from podium.lifecycle.profile_rules import Profile, ProfileSpec
from podium.model_file.compute import ComputeSpec
from podium.model_file.gates import CanaryGate, Gate, Level, TaggedGate, misfit, nearest, no_label
from podium.model_file.metric_names import KNOWN_METRICS, OWN_METRICS, Task, answer_columns
from podium.model_file.problems import problems
from podium.model_file.scoring import ScoringSpec
from podium.model_file.search import SearchSpec
from podium.model_file.types import (
    Closed,
    Columns,
    Cron,
    Duration,
    HoldoutSpec,
    ImportPath,
    Name,
    Scalar,
    WrongKey,
    once,
)

ROLE = "role:"


class DataSpec(Closed):
    """Where the rows come from and what their columns mean.

    Attributes:
        source: A csv (also .gz) or parquet file; relative to the project's top folder.
        examples: Import path of a function ``rows -> examples`` that makes the labelled examples (one row
            each, with the time, label and input columns); without it the rows are the examples.
        tables: Further files, which ``examples`` gets whole as keyword arguments of these names; in the
            folder of ``source``.
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
        tests: Of a generation: the column of code that defines ``check(candidate)``.
        entry_point: Of a generation: the column with the name of the function to write.
    """

    source: str = Field(min_length=1)
    examples: ImportPath | None = None
    tables: dict[Name, Name] = Field(default_factory=dict)
    time_column: Name | None = None
    time_formats: tuple[Name, ...] = Field(default=("ISO8601",), min_length=1)
    time_resolution: Literal["day", "moment"] = "day"
    label: Name
    label_map: dict[Name, Name] = Field(default_factory=dict)
    inputs: Columns = Field(min_length=1)
    undated: Literal["fail", "drop"] = "fail"
    unlabelled: Literal["fail", "drop"] = "fail"
    unknown_labels: Literal["fail", "drop"] = "fail"
    duplicates: Literal["keep", "drop"] = "keep"
    group: Name | None = None
    tests: Name | None = None
    entry_point: Name | None = None

    @model_validator(mode="after")
    def _inputs_leak_nothing(self) -> Self:
        if self.label in self.inputs:
            raise WrongKey(f"must not hold the label '{self.label}'", "inputs")
        return self

    @model_validator(mode="after")
    def _tables_are_for_a_function(self) -> Self:
        if self.tables and self.examples is None:
            raise WrongKey("needs data.examples, the function that gets them", "tables")
        for name in self.tables:
            if not name.isidentifier():
                raise WrongKey("its name must be one that an argument in Python can have", "tables", name)
        return self

    @field_validator("label_map")
    @classmethod
    def _each_name_once(cls, label_map: dict[str, str]) -> dict[str, str]:
        once("each name once (case does not matter)")([name.strip().casefold() for name in label_map])
        return label_map


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

    approvers: Annotated[tuple[Name, ...], AfterValidator(once("each name once"))] = Field(min_length=1)
    required: StrictInt = Field(default=1, ge=1)
    prevent_self_approval: StrictBool = True
    reason_min_length: StrictInt = Field(default=10, ge=1)
    checklist: Annotated[tuple[Name, ...], AfterValidator(once("each statement once"))] = ()
    expires_after: Duration = timedelta(days=3)
    valid_for: Duration = timedelta(days=1)

    @model_validator(mode="after")
    def _enough_approvers(self) -> Self:
        if ROLE in self.approvers:
            place = self.approvers.index(ROLE)
            raise WrongKey(f"names no role; write {ROLE}NAME", "approvers", place)
        only_users = not any(name.startswith(ROLE) for name in self.approvers)
        if only_users and len(self.approvers) < self.required:
            raise WrongKey(f"only {len(self.approvers)} may approve (approval.approvers)", "required")
        return self


class RetentionSpec(Closed):
    """How many old versions to keep besides the aliased ones. Kept on record; nothing is deleted yet."""

    keep_versions: StrictInt = Field(default=20, gt=0)


class ModelSpec(Closed):
    """One model file."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)
    owner: str = Field(min_length=1)
    description: str = Field(min_length=1)
    limits: tuple[Name, ...] = ()
    trainer: ImportPath
    task: Task
    labels: Annotated[tuple[Name, ...], AfterValidator(once("each label once"))] = Field(
        default=(), validate_default=True
    )
    data: DataSpec
    holdout: HoldoutSpec
    code: Annotated[tuple[Name, ...], AfterValidator(once("each file once"))] = ()
    params: dict[str, Scalar] = Field(default_factory=dict)
    search: SearchSpec | None = None
    profiles: dict[Profile, ProfileSpec] = Field(default_factory=dict)
    requirements: tuple[Name, ...] = Field(min_length=1)
    skops_trusted_types: tuple[Name, ...] = ()
    schedule: Cron | None = None
    gates: tuple[TaggedGate, ...] = Field(min_length=1)
    approval: ApprovalSpec
    champion_moved_outside: Literal["ask", "revert"] = "ask"
    retention: RetentionSpec = RetentionSpec()
    compute: ComputeSpec = ComputeSpec()
    scoring: ScoringSpec | None = None

    @field_validator("labels")
    @classmethod
    def _labels_fit_the_task(cls, labels: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        task = info.data.get("task")
        if task is Task.CLASSIFICATION and len(labels) < 2:
            raise ValueError("a classification needs at least 2")
        if task is not Task.CLASSIFICATION and task is not None and labels:
            raise ValueError(f"only a classification has labels; the task is {task}")
        return labels

    @model_validator(mode="after")
    def _data_fits_the_task(self) -> Self:
        data, ranks = self.data, self.task is Task.RANKING
        if data.label_map and self.task is not Task.CLASSIFICATION:
            raise WrongKey(f"only a classification has labels; the task is {self.task}", "data", "label_map")
        if ranks and data.group is None:
            raise WrongKey(
                "missing; a ranking needs the column whose equal values are one list", "data", "group"
            )
        if not ranks and data.group is not None:
            raise WrongKey(f"only a ranking has it; the task is {self.task}", "data", "group")
        return self

    @model_validator(mode="after")
    def _data_fits_a_generation(self) -> Self:
        generates = self.task is Task.GENERATION
        for key in ("tests", "entry_point"):
            if generates and getattr(self.data, key) is None:
                raise WrongKey("missing; a generation is judged by each row's tests", "data", key)
            if not generates and getattr(self.data, key) is not None:
                raise WrongKey(f"only a generation has it; the task is {self.task}", "data", key)
        if generates and len(self.data.inputs) != 1:
            raise WrongKey("of a generation must be one column, the prompt", "data", "inputs")
        return self

    @model_validator(mode="after")
    def _label_map_means_labels(self) -> Self:
        itself = {label.strip().casefold(): label for label in self.labels}
        for name, label in self.data.label_map.items():
            if label not in self.labels:
                raise WrongKey(no_label(label, self.labels), "data", "label_map", name)
            if itself.get(name.strip().casefold(), label) != label:
                raise WrongKey(f"'{name}' is a label itself", "data", "label_map", name)
        return self

    @model_validator(mode="after")
    def _holdout_fits_the_data(self) -> Self:
        if self.holdout.days is not None and self.data.time_column is None:
            raise WrongKey("needs data.time_column; without times give share", "holdout", "days")
        return self

    @model_validator(mode="after")
    def _gates_fit_the_model(self) -> Self:
        self._check_gates(self.gates)
        for name, profile in self.profiles.items():
            if profile.gates is not None:
                self._check_gates(profile.gates, "profiles", name)
        return self

    def _check_gates(self, gates: tuple[Gate, ...], *section: str) -> None:
        for place, gate in enumerate(gates):
            if gate in gates[:place]:
                raise WrongKey(f"the same as gates[{gates.index(gate)}]", *section, "gates", place)
            if wrong := misfit(gate, self.task, self.labels) or self._too_late(gate):
                raise WrongKey(str(wrong), *section, "gates", place, *wrong.keys)
        if all(gate.level is Level.ADVISORY for gate in gates):
            key = ".".join([*section, "gates"])
            raise ValueError(f"{key}: all are advisory, so nothing is judged; at least one must be required")

    @model_validator(mode="after")
    def _search_fits_the_model(self) -> Self:
        if self.search is None:
            return self
        metrics = [name for name, known in KNOWN_METRICS.items() if known.task is self.task]
        if self.search.metric not in metrics:
            own = ", ".join(name for name in metrics if name in OWN_METRICS)
            near = nearest(self.search.metric, metrics)
            raise WrongKey(
                f"no metric of a {self.task}; {near}allowed: {own}, and the scorers of scikit-learn",
                *("search", "metric"),
            )
        if self.search.validation.days is not None and self.data.time_column is None:
            raise WrongKey("needs data.time_column; without times give share", "search", "validation", "days")
        for name, dimension in self.search.space.items():
            if name not in self.params:
                known = f"{nearest(name, self.params)}allowed: {', '.join(self.params) or 'none'}"
                raise WrongKey(f"has no value under params; {known}", "search", "space", name)
            if wrong := dimension.problem(self.params[name]):
                raise WrongKey(f"{wrong}, by search.space; it is the first that is tried", "params", name)
        return self

    @model_validator(mode="after")
    def _profiles_fit_the_model(self) -> Self:
        for name, profile in self.profiles.items():
            if profile.trials is not None and self.search is None:
                raise WrongKey("there is no search", "profiles", name, "trials")
            for param in profile.params:
                if param not in self.params:
                    known = f"{nearest(param, self.params)}allowed: {', '.join(self.params) or 'none'}"
                    raise WrongKey(f"no such param; {known}", "profiles", name, "params", param)
        return self

    def _too_late(self, gate: Gate) -> WrongKey | None:
        days = gate.canary.days if isinstance(gate, CanaryGate) else None
        if days is None or timedelta(days=days) < self.approval.expires_after:
            return None
        return WrongKey(
            "must be less than approval.expires_after, or the request expires before the canary is over",
            "canary",
            "days",
        )

    def in_profile(self, profile: Profile | None) -> ModelSpec:
        """Return the model file as a run of a profile has it: its gates, params and number of trials."""
        if profile is None:
            return self
        less = self.profiles[profile]
        search = self.search and self.search.without(less.params)
        if search is not None and less.trials is not None:
            search = search.model_copy(update={"trials": less.trials})
        return self.model_copy(
            update={
                "search": search,
                "params": {**self.params, **less.params},
                "gates": self.gates if less.gates is None else less.gates,
            }
        )

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """Names of the numbers that the model gives for each row; none where it is a single one."""
        return answer_columns(self.task, self.labels)

    @property
    def lifecycle_dag_id(self) -> str:
        """The id of the Dag that runs this model's lifecycle."""
        return f"lifecycle_{self.name.replace('-', '_')}"

    @property
    def scoring_dag_id(self) -> str:
        """The id of the Dag that scores rows in batches, if the model file has the section ``scoring``."""
        return f"score_{self.name.replace('-', '_')}"


class _ModelFileLoader(yaml.SafeLoader):
    """A key that stands twice is an error (YAML takes the last one), and 1e-3 a number (in YAML 1.1 text)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{name}' twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_ModelFileLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', error)}"


def load_spec(path: Path) -> ModelSpec:
    """Read one model file.

    Raises:
        SpecError: The file is not YAML, or a key is unknown, missing or has a value that is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_ModelFileLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(path, [f"not a YAML file that can be read: {_yaml_problem(error)}"]) from error
    except OSError as error:
        raise SpecError(path, [f"cannot be read: {error.strerror}"]) from error
    if not isinstance(content, dict):
        raise SpecError(path, ["a model file is a mapping of keys, starting with name: ..."])
    try:
        return ModelSpec.model_validate(content)
    except ValidationError as error:
        raise SpecError(path, problems(error, ModelSpec)) from error


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
    if spec.search is not None:
        decides["search"] = spec.search.model_dump(mode="json")
    canonical = yaml.safe_dump([decides, dict(params)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
