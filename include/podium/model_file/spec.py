"""The model file: one reviewed YAML per model, parsed into frozen objects that refuse unknown keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from podium.model_file.approval import ApprovalSpec
from podium.model_file.compute import ComputeSpec
from podium.model_file.data import DataSpec
from podium.model_file.gates import CanaryGate, Gate, OverlapGate, TaggedGate, misfit, no_label
from podium.model_file.metric_gate import Level, MetricGate
from podium.model_file.metric_names import (
    KNOWN_METRICS,
    OWN_METRICS,
    ROW_MEANS,
    TaskKind,
    answer_columns,
)
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.notify import Topic
from podium.model_file.profiles import Profile, ProfileSpec
from podium.model_file.ramp import RampSpec
from podium.model_file.retention import RetentionSpec
from podium.model_file.scoring import ScoringSpec
from podium.model_file.search import SearchSpec
from podium.model_file.training import TrainingSpec
from podium.model_file.types import (
    MODEL_NAME,
    Closed,
    Cron,
    HoldoutSpec,
    ImportPath,
    Name,
    Package,
    Param,
    ProjectFile,
    WrongKey,
    nearest,
    once,
)
from podium.model_file.watch import WatchSpec
from podium.names import OWN_PREFIX


def _without_default(schema: dict[str, Any]) -> None:
    """Say of a key nothing that a file could not have: it is missing, or has a value."""
    schema.pop("default", None)


class ModelSpec(Closed):
    """One model file."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["trainer", "requirements"]}, {"required": ["training"]}]}
    )

    name: str = Field(
        pattern=MODEL_NAME,
        max_length=100,
        description="Name in the registry and of the Dag: lower-case words joined by `-`.",
    )
    owner: str = Field(
        min_length=1,
        max_length=250,
        description="The person or team that answers for the model; the owner of its Dag.",
    )
    description: str = Field(
        min_length=1, description="One sentence, shown on the Dag and on the approval card."
    )
    limits: tuple[Name, ...] = Field(
        default=(), description="Sentences on what the model must not be used for, shown on its model card."
    )
    training: TrainingSpec | None = Field(
        default=None, description="Another Dag trains the model, instead of `trainer`."
    )
    trainer: ImportPath = Field(
        default="",
        validate_default=True,
        json_schema_extra=_without_default,
        description="Import path of the training function, `module:function`; required without `training`.",
    )
    task: TaskKind = Field(
        description="Kind of prediction: a label, a number, the order of the rows of a list, or code."
    )
    labels: Annotated[tuple[Name, ...], AfterValidator(once("each label once"))] = Field(
        default=(),
        validate_default=True,
        description="Classification only, and required there: the labels, as text (numbers in quotes), in "
        "their natural order if any.",
    )
    data: DataSpec = Field(description="Where the rows come from, and what their columns mean.")
    holdout: HoldoutSpec = Field(
        description="The rows that the trainer never sees and the gates evaluate on."
    )
    code: Annotated[tuple[ProjectFile, ...], AfterValidator(once("each file once"))] = Field(
        default=(),
        description="Further files that make up the model, relative to the project's top folder; changing "
        "one leads to a new version.",
    )
    params: dict[Name, Param] = Field(
        default_factory=dict, description="Values handed to the trainer; a run's form may replace them."
    )
    search: SearchSpec | None = Field(
        default=None, description="A hyperparameter search before the model is fitted; without it no search."
    )
    profiles: dict[Profile, ProfileSpec] = Field(
        default_factory=dict,
        description="Trial runs on a sample of the data; their versions are never promoted.",
    )
    requirements: tuple[Package, ...] = Field(
        default=(),
        min_length=1,
        validate_default=True,
        json_schema_extra=_without_default,
        description="Packages that the model needs to load, required with `trainer`; pinned to the installed "
        "versions.",
    )
    skops_trusted_types: tuple[Name, ...] = Field(
        default=(),
        description="Types beyond scikit-learn's usual ones that the saved model may contain; review them.",
    )
    pickle: Name | None = Field(
        default=None,
        description="Why you trust pickles, which run their makers' code when loaded; without it none is "
        "saved, registered or adopted.",
    )
    schedule: Cron | None = Field(
        default=None,
        description="When the lifecycle runs, as a cron expression in UTC; without it only by hand.",
    )
    gates: tuple[TaggedGate, ...] = Field(
        min_length=1,
        description="The rules that a version must pass before anybody is asked to approve it; at least "
        "one must be `required`.",
    )
    approval: ApprovalSpec = Field(description="The people who decide on a promotion, and the rules.")
    champion_moved_outside: Literal["ask", "revert"] = Field(
        default="ask",
        description="Champion moved outside Podium: `ask` freezes it until an approver settles it, "
        "`revert` moves it back at once.",
    )
    notify: dict[Topic, tuple[Name, ...]] = Field(
        default_factory=dict,
        description="Which channels get which notices: a topic, or `all` for the rest, and names of "
        "channels. All topics: [notifications.md](notifications.md).",
    )
    retention: RetentionSpec | None = Field(
        default=None, description="Which old versions stay; without this section nothing is ever deleted."
    )
    compute: ComputeSpec = Field(
        default=ComputeSpec(), description="Resources of the heavy tasks: train, validate and score."
    )
    scoring: ScoringSpec | None = Field(
        default=None, description="Batch scoring; without this section there is no Dag for it."
    )
    monitoring: MonitoringSpec | None = Field(
        default=None, description="Windows of rows that `podium monitor` judges."
    )
    watch: WatchSpec | None = Field(
        default=None,
        description="Servers keep the previous champion beside a new one for a while, and say if the new one "
        "is worse.",
    )
    ramp: RampSpec | None = Field(
        default=None,
        description="After the approval servers raise the share of clients that the version answers, step by "
        "step, before it becomes champion.",
    )

    @field_validator("trainer", "requirements", mode="wrap")
    @classmethod
    def _missing_only_where_trained_elsewhere(
        cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        if value not in ("", ()):
            return check(value)
        if info.data.get("training", value) is None:
            raise PydanticCustomError("missing", "missing")
        return value

    @field_validator("labels")
    @classmethod
    def _labels_fit_the_task(cls, labels: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        task = info.data.get("task")
        if task is TaskKind.CLASSIFICATION and len(labels) < 2:
            raise ValueError("a classification needs at least 2")
        if task is not TaskKind.CLASSIFICATION and task is not None and labels:
            raise ValueError(f"only a classification has labels; the task is {task}")
        return labels

    @field_validator("params")
    @classmethod
    def _params_are_the_trainers(cls, params: dict[str, Any]) -> dict[str, Any]:
        if taken := next((name for name in params if name.startswith(OWN_PREFIX)), None):
            raise ValueError(f"rename '{taken}': names that begin with {OWN_PREFIX} are Podium's own")
        return params

    @model_validator(mode="after")
    def _trained_elsewhere(self) -> Self:
        if self.training is None:
            return self
        for key in ("trainer", "requirements", "params", "search", "profiles", "code", "skops_trusted_types"):
            if getattr(self, key):
                raise WrongKey("goes with trainer only; the Dag that trains has its own", key)
        leaks = [gate for gate in self.gates if isinstance(gate, OverlapGate)]
        if not any(gate.level is Level.REQUIRED for gate in leaks):
            raise WrongKey(
                "must hold max_train_overlap, required: nobody here sees what another Dag trains on", "gates"
            )
        return self

    @model_validator(mode="after")
    def _data_fits_the_task(self) -> Self:
        data, ranks = self.data, self.task is TaskKind.RANKING
        if data.label_map and self.task is not TaskKind.CLASSIFICATION:
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
        generates = self.task is TaskKind.GENERATION
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
            raise WrongKey(
                "all are advisory, so nothing is judged; at least one must be required", *section, "gates"
            )

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
    def _monitoring_fits_the_data(self) -> Self:
        if self.monitoring is None:
            return self
        if self.data.time_column is None:
            raise WrongKey("needs data.time_column; without times there are no windows", "monitoring")
        for name in self.monitoring.weights:
            if name not in self.data.inputs:
                near = nearest(name, self.data.inputs)
                raise WrongKey(f"no such input; {near}they are in data.inputs", "monitoring", "weights", name)
        if self.monitoring.tolerance is not None and not self.row_metric:
            allowed = ", ".join(name for name in ROW_MEANS if KNOWN_METRICS[name].task is self.task) or "none"
            raise WrongKey(
                f"needs a gate on a mean over rows; for a {self.task} allowed: {allowed}",
                *("monitoring", "tolerance"),
            )
        if self.monitoring.rows == "server" and self.monitoring.detectors:
            raise WrongKey("needs rows, and model servers keep none", "monitoring", "detectors")
        if self.monitoring.labels is not None and (self.scoring is None or not self.scoring.keys):
            raise WrongKey("needs scoring.keys, by which they are joined", "monitoring", "labels")
        return self

    @model_validator(mode="after")
    def _watch_fits_the_gates(self) -> Self:
        if self.watch is not None and self.watch.labelled_rows and not self.row_metric:
            allowed = ", ".join(name for name in ROW_MEANS if KNOWN_METRICS[name].task is self.task) or "none"
            raise WrongKey(
                f"needs a gate on a mean over rows, or be 0; a {self.task} allows: {allowed}",
                *("watch", "labelled_rows"),
            )
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
    def row_metric(self) -> str:
        """The first metric of the gates that is a mean over rows; "" if there is none."""
        named = (gate.metric for gate in self.gates if isinstance(gate, MetricGate))
        return next((name for name in named if name in ROW_MEANS), "")

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """Names of the numbers that the model gives for each row; none where it is a single one."""
        return answer_columns(self.task, self.labels)

    @property
    def lifecycle_dag_id(self) -> str:
        """The id of the Dag that runs this model's lifecycle."""
        return lifecycle_dag_id(self.name)

    @property
    def dag_ids(self) -> tuple[str, ...]:
        """The ids of all Dags that there may be of this model."""
        return self.lifecycle_dag_id, self.scoring_dag_id, self.monitoring_dag_id

    @property
    def monitoring_dag_id(self) -> str:
        """The id of the Dag that judges windows, if the model file has the section ``monitoring``."""
        return f"monitor_{self.name.replace('-', '_')}"

    @property
    def scoring_dag_id(self) -> str:
        """The id of the Dag that scores rows in batches, if the model file has the section ``scoring``."""
        return f"score_{self.name.replace('-', '_')}"


def lifecycle_dag_id(model: str) -> str:
    """Return the id of the Dag that runs a model's lifecycle, also of one that has no model file any more."""
    return f"lifecycle_{model.replace('-', '_')}"
