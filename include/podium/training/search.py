"""The hyperparameter search: it tries params and tells how each did.

Optuna's sampler asks (Tree-structured Parzen Estimator, J. Bergstra et al., "Algorithms for Hyper-Parameter
Optimization", 2011, https://papers.nips.cc/paper/4443), in memory and seeded: equal inputs try equal params.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from podium.errors import TrainerError
from podium.model_file.search import Dimension, SearchSpec
from podium.training.search_result import Search, SearchTrial, best_of

if TYPE_CHECKING:
    import optuna

_PROGRESS_LINES = 5
# Of fewer different values an importance is chance.
_FEWEST_TO_TELL = 4

# From the number of a trial (1, 2, ...) and all params to the metric; raises TrainerError where it has none.
Attempt = Callable[[int, Mapping[str, Any]], float]

log = logging.getLogger(__name__)


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
    trials: list[SearchTrial] = []
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


def _tried(
    number: int, chosen: Mapping[str, Any], params: Mapping[str, Any], attempt: Attempt
) -> SearchTrial:
    started = time.monotonic()
    try:
        value = attempt(number, {**params, **chosen})
    except TrainerError as error:
        return SearchTrial(number, dict(chosen), None, time.monotonic() - started, str(error))
    return SearchTrial(number, dict(chosen), value, time.monotonic() - started)


def _tell_progress(spec: SearchSpec, trials: Sequence[SearchTrial]) -> None:
    done = len(trials)
    if done % math.ceil(spec.trials / _PROGRESS_LINES) and done != spec.trials:
        return
    failed = sum(trial.value is None for trial in trials)
    said = f", {failed} failed" if failed else ""
    if best := best_of(spec, trials):
        said += f"; best {spec.metric} {best[-1].value:.4f}, of trial {best[-1].number}"
    log.info("search: %d of %d trials%s", done, spec.trials, said)


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
