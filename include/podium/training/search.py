"""The hyperparameter search: which params are tried, how each did, which are best.

Optuna's sampler asks (Tree-structured Parzen Estimator, J. Bergstra et al., "Algorithms for Hyper-Parameter
Optimization", 2011, https://papers.nips.cc/paper/4443), in memory and seeded: equal inputs try equal params.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from podium.errors import DataError, TrainerError
from podium.model_file.search import Dimension, SearchSpec
from podium.model_file.spec import ModelSpec
from podium.training.data import DataWindow, held_out

if TYPE_CHECKING:
    import optuna

FOLDER = "search"
RESULT = "search.json"
TRIALS = "trials.csv"
# Any number but that of another split of the same rows.
_SALT = 0x5EA7C4
_PROGRESS_LINES = 5
# Of fewer different values an importance is chance.
_FEWEST_TO_TELL = 4

# From the number of a trial (1, 2, ...) and all params to the metric; raises TrainerError where it has none.
Attempt = Callable[[int, Mapping[str, Any]], float]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One try.

    Attributes:
        number: 1, 2, ...; the first is of the values under ``params``.
        params: The params that are searched.
        value: The metric on the validation part; None if the trial failed.
        seconds: From the call of the trainer to the metric.
        problem: Why it failed; "" if it did not.
    """

    number: int
    params: Mapping[str, Any]
    value: float | None
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Search:
    """A finished search.

    Attributes:
        spec: What was asked for.
        trials: In order; at least one has a value.
        importances: Of each param, how much of what the values differ by it explains, 0 to 1; empty where too
            few trials tell.
    """

    spec: SearchSpec
    trials: tuple[Trial, ...]
    importances: Mapping[str, float]

    @property
    def best(self) -> Trial:
        """The best trial, of equal ones the first."""
        return best_of(self.spec, self.trials)[-1]

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(trial.value is None for trial in self.trials)

    def in_words(self) -> str:
        """Say in one sentence what came out."""
        failed = f", {self.failed} of them failed" if self.failed else ""
        params = ", ".join(f"{name} {_short(value)}" for name, value in self.best.params.items())
        return (
            f"best of {len(self.trials)} trials{failed}: trial {self.best.number} with {params}, "
            f"{self.spec.metric} {self.best.value:.4f} on {self.spec.validation.in_words()} of the training "
            "examples"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the search with plain JSON values."""
        return {
            "metric": self.spec.metric,
            "greater_is_better": self.spec.greater_is_better,
            "best_trial": self.best.number,
            "best_value": self.best.value,
            "best_params": dict(self.best.params),
            "in_words": self.in_words(),
            "failed_trials": self.failed,
            "importances": dict(self.importances),
            "search": self.spec.model_dump(mode="json"),
            "trials": [{**vars(trial), "params": dict(trial.params)} for trial in self.trials],
        }

    def as_csv(self) -> str:
        """Return one line per trial."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["trial", *self.spec.space, self.spec.metric, "seconds", "problem"])
        for trial in self.trials:
            value = "" if trial.value is None else trial.value
            params = [trial.params[name] for name in self.spec.space]
            writer.writerow([trial.number, *params, value, f"{trial.seconds:.3f}", trial.problem])
        return text.getvalue()


def validation_rows(spec: ModelSpec, window: DataWindow) -> npt.NDArray[np.bool_]:
    """Return which training examples the trials are scored on, (n,); none without a search.

    The newest days are those before the holdout's.
    """
    if spec.search is None:
        return np.zeros(len(window.train), dtype=bool)
    end = window.as_of - timedelta(days=spec.holdout.days or 0)
    return held_out(spec.search.validation, window.train, end, _SALT).to_numpy(dtype=bool)


def check_split(spec: ModelSpec, validation: npt.NDArray[np.bool_]) -> None:
    """Check that there are rows on both sides.

    Raises:
        DataError: There are none to fit the trials on, or none to score them on.
    """
    for what, count in (
        ("to fit its trials on", (~validation).sum()),
        ("to score its trials on", validation.sum()),
    ):
        if not count and spec.search is not None:
            raise DataError(
                f"{spec.name}: search.validation: {spec.search.validation.in_words()} of the "
                f"{len(validation):,} training examples leave none {what}"
            )


def search_params(spec: SearchSpec, params: Mapping[str, Any], attempt: Attempt) -> Search:
    """Try params, and return how each did.

    Args:
        spec: The model file's section; of each param of its space ``params`` has a value, tried first.
        params: All params of the trainer.
        attempt: Fits and scores; a ``TrainerError`` of it is a failed trial, anything else ends the search.

    Raises:
        TrainerError: All trials failed; tells what the first one said.
    """
    study, space = _study(spec), {name: _distribution(dim) for name, dim in spec.space.items()}
    study.enqueue_trial({name: params[name] for name in space})
    trials: list[Trial] = []
    for number in range(1, spec.trials + 1):
        asked = study.ask(space)
        trials.append(_tried(number, asked.params, params, attempt))
        if trials[-1].value is None:
            study.tell(asked, state=_failed())
        else:
            study.tell(asked, trials[-1].value)
        _tell_progress(spec, trials)
    if all(trial.value is None for trial in trials):
        raise TrainerError(f"all {spec.trials} trials of the search failed; the first: {trials[0].problem}")
    return Search(spec, tuple(trials), _importances(study))


def best_of(spec: SearchSpec, trials: Sequence[Trial]) -> list[Trial]:
    """Return the best trial so far after each trial from the first that has a value."""
    best: list[Trial] = []
    for trial in trials:
        if trial.value is not None and (not best or _better(spec, trial.value, best[-1].value)):
            best.append(trial)
        elif best:
            best.append(best[-1])
    return best


def write_search(folder: Path, search: Search) -> None:
    """Write what a search found into a new folder: ``search.json``, ``trials.csv`` and pictures."""
    # Drawing takes a second to import.
    from podium.training.search_files import search_pictures

    folder.mkdir()
    (folder / RESULT).write_text(json.dumps(search.as_json(), indent=1) + "\n", encoding="utf-8")
    (folder / TRIALS).write_text(search.as_csv(), encoding="utf-8")
    for name, figure in search_pictures(search).items():
        figure.savefig(folder / f"{name}.png")


def _tried(number: int, chosen: Mapping[str, Any], params: Mapping[str, Any], attempt: Attempt) -> Trial:
    started = time.monotonic()
    try:
        value = attempt(number, {**params, **chosen})
    except TrainerError as error:
        return Trial(number, dict(chosen), None, time.monotonic() - started, str(error))
    return Trial(number, dict(chosen), value, time.monotonic() - started)


def _tell_progress(spec: SearchSpec, trials: Sequence[Trial]) -> None:
    done = len(trials)
    if done % math.ceil(spec.trials / _PROGRESS_LINES) and done != spec.trials:
        return
    failed = sum(trial.value is None for trial in trials)
    said = f", {failed} failed" if failed else ""
    if best := best_of(spec, trials):
        said += f"; best {spec.metric} {best[-1].value:.4f}, of trial {best[-1].number}"
    log.info("search: %d of %d trials%s", done, spec.trials, said)


def _better(spec: SearchSpec, value: float, than: float | None) -> bool:
    if than is None:
        return True
    return value > than if spec.greater_is_better else value < than


def _study(spec: SearchSpec) -> optuna.Study:
    # A second to import, which the tasks after training do not need.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Of few trials half are drawn by chance, so that the others have something to learn from.
    sampler = optuna.samplers.TPESampler(seed=spec.seed, n_startup_trials=min(10, spec.trials // 2))
    return optuna.create_study(
        direction="maximize" if spec.greater_is_better else "minimize", sampler=sampler
    )


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if dimension.type == "categorical":
        return distributions.CategoricalDistribution(dimension.choices)
    low, high = dimension.low or 0.0, dimension.high or 0.0
    if dimension.type == "int":
        return distributions.IntDistribution(int(low), int(high), log=dimension.log)
    return distributions.FloatDistribution(low, high, log=dimension.log)


def _failed() -> optuna.trial.TrialState:
    from optuna.trial import TrialState

    return TrialState.FAIL


def _importances(study: optuna.Study) -> dict[str, float]:
    from optuna.importance import get_param_importances

    values = [trial.value for trial in study.trials if trial.value is not None]
    if len(set(values)) < _FEWEST_TO_TELL:
        return {}
    return get_param_importances(study)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
