"""The files of a hyperparameter search: its result, its trials and its pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from podium.model_file.search import Dimension
from podium.training.search_result import RESULT, TRIALS, Search, SearchTrial, best_of

_MOST_PARAMS = 12
_COLUMNS = 3
# Without the palest third, which nobody sees on white.
_SHADES = ListedColormap(colormaps["Blues"](np.linspace(0.3, 1, 256)))


def search_pictures(search: Search) -> dict[str, Figure]:
    """Draw how a search went.

    Returns:
        Figures by file name: ``history``, ``params`` and, where enough trials tell, ``importances``.
    """
    pictures = {"history": history(search), "params": params(search)}
    if search.importances:
        pictures["importances"] = importances(search)
    return pictures


def history(search: Search) -> Figure:
    """Draw the metric of each trial in order, and the best so far; failed trials as crosses at the edge."""
    spec, best = search.spec, best_of(search.spec, search.trials)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(
        title=f"Search: {len(search.trials)} trials, best is trial {search.best.number}",
        xlabel="trial",
        ylabel=f"{spec.metric} (validation)",
    )
    done, last = [trial.number for trial in search.trials if trial.value is not None], len(search.trials)
    axes.scatter(done, _values(search.trials), color="C0", label="trial", zorder=3)
    axes.step(range(last - len(best) + 1, last + 1), _values(best), where="post", color="C2")
    axes.plot([], [], color="C2", label="best so far")
    axes.scatter(
        [search.best.number], _values([search.best]), marker="*", s=260, color="C2", zorder=4, label="best"
    )
    failed = [trial.number for trial in search.trials if trial.value is None]
    if failed:
        axes.scatter(
            failed,
            np.full(len(failed), 0.03),
            transform=axes.get_xaxis_transform(),
            marker="x",
            color="red",
            label="failed",
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def params(search: Search) -> Figure:
    """Draw the metric against each param that was searched, later trials darker."""
    names = list(search.spec.space)[:_MOST_PARAMS]
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(1.5 + 3.5 * columns, 0.6 + 3.4 * rows), layout="constrained")
    figure.suptitle(f"{search.spec.metric} (validation) of each trial, by param; the star is the best")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    drawn: Any = None
    for place, name in enumerate(names):
        drawn = _draw_param(axes.flat[place], search, name)
    for spare in axes.flat[len(names) :]:
        spare.set_visible(False)
    for row in axes:
        row[0].set_ylabel(search.spec.metric)
    figure.colorbar(drawn, ax=axes, label="trial", ticks=MaxNLocator(integer=True))
    return figure


def _draw_param(axes: Any, search: Search, name: str) -> Any:
    dimension = search.spec.space[name]
    done = [trial for trial in search.trials if trial.value is not None]
    at = [_place(dimension, trial.params[name]) for trial in done]
    drawn = axes.scatter(at, _values(search.trials), c=[trial.number for trial in done], cmap=_SHADES)
    drawn.set_clim(1, max(2, len(search.trials)))
    best = _place(dimension, search.best.params[name])
    axes.scatter([best], _values([search.best]), marker="*", s=260, color="C2", zorder=0)
    axes.set_xlabel(name)
    if dimension.log:
        axes.set_xscale("log")
    if dimension.type == "categorical":
        axes.set_xticks(range(len(dimension.choices)), map(str, dimension.choices))
        axes.set_xlim(-0.5, len(dimension.choices) - 0.5)
    return drawn


def importances(search: Search) -> Figure:
    """Draw how much of what the values differ by each param explains."""
    named = sorted(search.importances.items(), key=lambda item: item[1], reverse=True)[:_MOST_PARAMS]
    figure = Figure(figsize=(8, 1.4 + 0.45 * len(named)), layout="constrained")
    axes = figure.add_subplot(
        title=f"Importance for {search.spec.metric}, by {len(search.trials)} trials", xlabel="importance"
    )
    bars = axes.barh([name for name, _ in named], [share for _, share in named], color="C0")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlim(0, 1.1)
    axes.invert_yaxis()
    return figure


def _values(trials: Iterable[SearchTrial]) -> list[float]:
    return [trial.value for trial in trials if trial.value is not None]


def _place(dimension: Dimension, value: Any) -> float:
    if dimension.type != "categorical":
        return float(value)
    return next(place for place, choice in enumerate(dimension.choices) if choice is value or choice == value)


def write_search(folder: Path, search: Search) -> None:
    """Write what a search found into a new folder: ``search.json``, ``trials.csv`` and pictures."""
    # Drawing takes a second to import.

    folder.mkdir()
    (folder / RESULT).write_text(json.dumps(search.as_json(), indent=1) + "\n", encoding="utf-8")
    (folder / TRIALS).write_text(search.as_csv(), encoding="utf-8")
    for name, figure in search_pictures(search).items():
        figure.savefig(folder / f"{name}.png")
