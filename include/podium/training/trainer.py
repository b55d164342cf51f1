"""What a trainer is given and what it returns; it is called here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from podium.errors import TrainerError
from podium.model_file.problems import problems
from podium.model_file.spec import ModelSpec
from podium.model_file.types import Closed
from podium.model_file.user_code import trainer_errors
from podium.names import CANDIDATE, VERSIONS
from podium.training.examples import TrainingExamples
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
        model: A fitted scikit-learn estimator (a classifier has ``predict_proba`` and ``classes_``), or a
            model ``FromCode``.
        baselines: The same, by name, on the same inputs; scored beside the model on the holdout.
        metrics: Numbers that only the trainer knows, such as a loss while fitting; gates call them
            ``trainer.NAME``.
    """

    model: Any
    baselines: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def call_trainer(
    spec: ModelSpec, trainer: Any, examples: TrainingExamples, params: Mapping[str, Any]
) -> TrainedModel:
    """Call the user's training function.

    Raises:
        TrainerError: It raised, or returned something that a trainer must not.
    """
    with trainer_errors(spec.trainer):
        trained = trainer(examples, dict(params))
    if not isinstance(trained, TrainedModel):
        raise TrainerError(f"{spec.trainer} must return a TrainedModel, not {type(trained).__name__}")
    if taken := {*VERSIONS, "model"} & set(trained.baselines):
        raise TrainerError(f"{spec.trainer}: a baseline must not be called {' or '.join(sorted(taken))}")
    return trained


def _check_labels(spec: ModelSpec, name: str, classes: Collection[str]) -> None:
    """A label that the rows no longer hold is for the gates; one that the file does not list is a fault."""
    if spec.labels and (not classes or set(classes) - set(spec.labels)):
        raise TrainerError(
            f"{spec.trainer}: {name} knows the labels {sorted(classes)}, "
            f"the model file lists {list(spec.labels)}"
        )


def _check_script(spec: ModelSpec, model: FromCode, home: Path) -> None:
    if model.script.resolve() not in [(home / path).resolve() for path in spec.code]:
        raise TrainerError(
            f"{spec.trainer}: the model's script {model.script} is not among the model file's code: "
            f"{', '.join(spec.code) or 'none'}; name it there, so that a change of it trains anew"
        )


@contextmanager
def usable_models(spec: ModelSpec, trained: TrainedModel, home: Path) -> Iterator[dict[str, Usable]]:
    """Hold the trained model, as the candidate, and its baselines ready to answer."""
    models: dict[str, Usable] = {}
    with ExitStack() as held:
        for name, model in {CANDIDATE: trained.model, **trained.baselines}.items():
            if isinstance(model, FromCode):
                _check_script(spec, model, home)
            with trainer_errors(spec.trainer):
                loaded = usable(model, classifies=bool(spec.labels), requirements=pinned(spec))
                models[name] = held.enter_context(loaded)
            _check_labels(spec, "the model" if name == CANDIDATE else name, models[name].classes)
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
        raise TrainerError(f"{spec.name}: requirements: {error.name} is not installed here") from error
