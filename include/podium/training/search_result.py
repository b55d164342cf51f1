"""What a search found: its trials, and which of them is best."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from podium.model_file.search import SearchSpec

FOLDER = "search"
RESULT = "search.json"
TRIALS = "trials.csv"


@dataclass(frozen=True)
class SearchTrial:
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
    trials: tuple[SearchTrial, ...]
    importances: Mapping[str, float]

    @property
    def best(self) -> SearchTrial:
        """The best trial, of equal ones the first."""
        return best_of(self.spec, self.trials)[-1]

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(trial.value is None for trial in self.trials)

    def describe(self) -> str:
        """Say in one sentence what came out."""
        failed = f", {self.failed} of them failed" if self.failed else ""
        params = ", ".join(f"{name} {_short(value)}" for name, value in self.best.params.items())
        return (
            f"best of {len(self.trials)} trials{failed}: trial {self.best.number} with {params}, "
            f"{self.spec.metric} {self.best.value:.4f} on {self.spec.validation.describe()} of the training "
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
            "in_words": self.describe(),
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


def best_of(spec: SearchSpec, trials: Sequence[SearchTrial]) -> list[SearchTrial]:
    """Return the best trial so far after each trial from the first that has a value."""
    best: list[SearchTrial] = []
    for trial in trials:
        if trial.value is not None and (not best or _better(spec, trial.value, best[-1].value)):
            best.append(trial)
        elif best:
            best.append(best[-1])
    return best


def _better(spec: SearchSpec, value: float, than: float | None) -> bool:
    if than is None:
        return True
    return value > than if spec.greater_is_better else value < than


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
