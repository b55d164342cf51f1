"""What a trainer is given and what it returns; it is called here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from podium.errors import TrainerError
from podium.metrics.labels import spelling
from podium.model_file.extras import how_to_install
from podium.model_file.problems import problems
from podium.model_file.spec import ModelSpec
from podium.model_file.types import Closed
from podium.model_file.user_code import trainer_errors
from podium.names import CANDIDATE, VERSIONS
from podium.registry.flavours import Flavour, flavour_of
from podium.training.examples import TrainingExamples
from podium.training.formats import NEEDS
from podium.training.saving import FromCode, Usable, usable


class Params(Closed):
    """Base of a trainer's params: a field for each, with its default; an unknown one is an error."""

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Self:
        """Read what the trainer was given.

        Raises:
            TrainerError: A param is unknown or its value cannot be used; names it and what is allowed.
        """
        try:
            return cls.model_validate(dict(params))
        except ValidationError as error:
            found, _ = problems(error, cls)
            raise TrainerError("; ".join(f"params.{text}" for _, text in found)) from error


@dataclass(frozen=True)
class TrainedModel:
    """What a trainer returns.

    Attributes:
        model: The fitted model itself: of scikit-learn (a classifier has ``predict_proba`` and ``classes_``),
            LightGBM, XGBoost, CatBoost, statsmodels, PyTorch, Keras or ONNX, or a pyfunc: a model
            ``FromCode``, or a ``mlflow.pyfunc.PythonModel``.
        baselines: The same, by name, on the same inputs; scored beside the model on the holdout.
        classes: Of a classification the labels in the order of the answers, for models that do not know them:
            a ``Booster``, a network, ONNX, or one that learned the numbers 0, 1, ... instead.
        metrics: Numbers that only the trainer knows, such as a loss while fitting; gates call them
            ``trainer.NAME``.
    """

    model: Any
    baselines: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    classes: Sequence[str] = ()


def call_trainer(
    spec: ModelSpec, trainer: Any, examples: TrainingExamples, params: Mapping[str, Any]
) -> TrainedModel:
    """Call the user's training function.

    Raises:
        TrainerError: It raised, or returned something that a trainer must not.
    """
    with trainer_errors(spec.trainer):
        trained = trainer(examples, deepcopy(dict(params)))
    if not isinstance(trained, TrainedModel):
        raise TrainerError(f"{spec.trainer} must return a TrainedModel, not {type(trained).__name__}")
    _check_names(spec, trained)
    if taken := {*VERSIONS, "model"} & set(trained.baselines):
        raise TrainerError(f"{spec.trainer}: a baseline must not be called {' or '.join(sorted(taken))}")
    metrics = {name: _number(spec, name, value) for name, value in trained.metrics.items()}
    return replace(trained, metrics=metrics, classes=_given_classes(spec, trained.classes))


def _given_classes(spec: ModelSpec, classes: Sequence[str]) -> tuple[str, ...]:
    given = tuple(map(spelling(spec.labels), map(str, classes)))
    unknown = [name for name in given if name not in spec.labels]
    if unknown or len(set(given)) < len(given):
        allowed = ", ".join(spec.labels) or f"none, for a {spec.task}"
        raise TrainerError(
            f"{spec.trainer}: classes {list(given)}: each must be one label, once; allowed: {allowed}"
        )
    return given


def _check_names(spec: ModelSpec, trained: TrainedModel) -> None:
    for kind, named in (("baselines", trained.baselines), ("metrics", trained.metrics)):
        if not isinstance(named, Mapping):
            raise TrainerError(
                f"{spec.trainer}: {kind} must be a mapping by name, not {type(named).__name__}"
            )
        for name in named:
            if not isinstance(name, str) or not name:
                raise TrainerError(
                    f"{spec.trainer}: {kind}: {name!r} is not a name: it must be text, not empty"
                )


def _number(spec: ModelSpec, name: str, value: Any) -> float:
    """Take the numbers of every library: of NumPy, of a tensor with one value."""
    try:
        return float("no number" if isinstance(value, str | bytes) else value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TrainerError(f"{spec.trainer}: metrics: {name}: {value!r} is not a number") from error


def _check_labels(spec: ModelSpec, name: str, classes: Collection[str]) -> None:
    """A label that the rows no longer hold is for the gates; one that the file does not list is a fault."""
    if spec.labels and (not classes or set(classes) - set(spec.labels)):
        raise TrainerError(
            f"{spec.trainer}: {name} knows the labels {sorted(classes)}, "
            f"the model file lists {list(spec.labels)}. Give the labels of its numbers in their order: "
            "TrainedModel(classes=[...])"
        )


def _check_needs(spec: ModelSpec, name: str, flavour: Flavour) -> None:
    """What a flavour needs to load must be among the requirements, which are saved with the model."""
    for packages in NEEDS.get(flavour, ()):
        if not set(packages) & set(spec.requirements):
            raise TrainerError(
                f"{spec.trainer}: {name} needs {' or '.join(packages)} to load; add it to requirements in "
                "the model file"
            )


def _model_problem(model: Any, *, classifies: bool) -> str:
    """Say why something is no fitted model that can be asked; "" if it may be one."""
    flavour = flavour_of(model)
    if isinstance(model, type) or flavour is Flavour.SKLEARN:
        return _estimator_problem(model, classifies=classifies)
    if flavour in (Flavour.PYTORCH, Flavour.ONNX):
        return ""
    if not callable(getattr(model, "predict", None)):
        return f"is not a fitted model but {type(model).__name__}, which has no predict"
    return ""


def _estimator_problem(model: Any, *, classifies: bool) -> str:
    """Say why something is no fitted estimator that can be asked; "" if it may be one."""
    if isinstance(model, type):
        return f"is the class {model.__name__}; return a fitted estimator: {model.__name__}(...).fit(...)"
    if not callable(getattr(model, "predict", None)):
        return (
            f"is not a fitted estimator but {type(model).__name__}, which has no predict; return a "
            "scikit-learn estimator, a model of another library (docs/frameworks.md), or a model FromCode"
        )
    if classifies and not callable(getattr(model, "predict_proba", None)):
        return (
            f"({type(model).__name__}) has no predict_proba, and a classification needs probabilities; "
            "CalibratedClassifierCV gives them to a classifier without"
        )
    if classifies and not hasattr(model, "classes_"):
        return f"({type(model).__name__}) has no classes_: it is not fitted, or no classifier"
    return ""


def _check_script(spec: ModelSpec, model: FromCode, home: Path) -> None:
    if model.script.resolve() not in [(home / path).resolve() for path in spec.code]:
        raise TrainerError(
            f"{spec.trainer}: the model's script {model.script} is not among the model file's code: "
            f"{', '.join(spec.code) or 'none'}; name it there, so that a change of it leads to a new version"
        )


@contextmanager
def usable_models(spec: ModelSpec, trained: TrainedModel, home: Path) -> Iterator[dict[str, Usable]]:
    """Hold the trained model, as the candidate, and its baselines ready to answer."""
    models: dict[str, Usable] = {}
    with ExitStack() as held:
        for name, model in {CANDIDATE: trained.model, **trained.baselines}.items():
            shown = "the model" if name == CANDIDATE else f"the baseline '{name}'"
            if isinstance(model, FromCode):
                _check_script(spec, model, home)
            elif problem := _model_problem(model, classifies=bool(spec.labels)):
                raise TrainerError(f"{spec.trainer}: {shown} {problem}")
            with trainer_errors(spec.trainer):
                loaded = usable(
                    model,
                    classifies=bool(spec.labels),
                    requirements=pinned(spec),
                    classes=trained.classes,
                    pickle=spec.pickle or "",
                )
                ready = held.enter_context(loaded)
            models[name] = replace(ready, classes=tuple(map(spelling(spec.labels), ready.classes)))
            _check_labels(spec, shown, models[name].classes)
            if name == CANDIDATE:
                _check_needs(spec, shown, ready.flavour)
        yield models


def pinned(spec: ModelSpec) -> list[str]:
    """Return the model file's requirements with the versions that are installed here.

    Raises:
        TrainerError: One is not installed.
    """
    try:
        # What stands after a + names the build of this machine, such as 2.13.0+cpu.
        return [f"{name}=={installed_version(name).partition('+')[0]}" for name in spec.requirements]
    except PackageNotFoundError as error:
        raise TrainerError(
            f"{spec.name}: requirements: {error.name} is not installed here{how_to_install(error.name)}"
        ) from error
