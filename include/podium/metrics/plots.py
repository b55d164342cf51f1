"""Pictures of models on the holdout, for people who would rather look than read numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from podium.metrics.answers import Answers, Indices, Probabilities
from podium.metrics.measures import CALIBRATION_BINS, MEANS
from podium.model_file.metric_names import TaskKind
from podium.names import CANDIDATE

# Of each task, the mean over rows that is drawn over time.
_OVER_TIME = {TaskKind.CLASSIFICATION: "log_loss", TaskKind.REGRESSION: "mean_absolute_error"}


def training_pictures(time: pd.Series, scored: Mapping[str, Answers]) -> dict[str, Figure]:
    """Draw what a training run shows of its model beside the baselines.

    Args:
        time: When each holdout row became known, (n,); NaT if rows have no time.
        scored: What each model answered, by name; the trained one under ``candidate``.

    Returns:
        Figures by file name.
    """
    answers = scored[CANDIDATE]
    pictures = {}
    if answers.task is TaskKind.CLASSIFICATION:
        pictures["confusion_matrix"] = confusion_matrix(answers.truth, answers.predictions, answers.labels)
        pictures["calibration"] = calibration({CANDIDATE: answers})
    if answers.task is TaskKind.REGRESSION:
        pictures["predicted_against_true"] = predicted_against_true(answers)
    if answers.task is TaskKind.GENERATION:
        pictures["bits_per_byte"] = bits_per_byte(scored)
    if answers.task in _OVER_TIME and time.notna().all():
        pictures["loss_per_month"] = loss_per_month(time, scored)
    return pictures


def confusion_matrix(truth: Indices, probabilities: Probabilities, labels: Sequence[str]) -> Figure:
    """Draw counts of true label against most probable label, each row's share as the shade."""
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, (truth, probabilities.argmax(axis=1)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.add_subplot(title="Confusion matrix (holdout)", xlabel="predicted", ylabel="true")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{count}\n{shares[row, column]:.0%}", ha="center", va="center", color=colour)
    return figure


def calibration(models: Mapping[str, Answers]) -> Figure:
    """Draw how often each label came true against its predicted probability, in bins of equal size.

    The first model is drawn with solid lines, a second one dashed beside it.
    """
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot(
        title="Calibration (holdout)", xlabel="predicted probability", ylabel="observed share"
    )
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey", label="perfect")
    for style, (name, answers) in zip(("-", "--"), models.items(), strict=False):
        for place, label in enumerate(answers.labels):
            predicted = answers.predictions[:, place]
            bins = np.array_split(np.argsort(predicted, kind="stable"), min(CALIBRATION_BINS, len(predicted)))
            axes.plot(
                [predicted[part].mean() for part in bins],
                [(answers.truth[part] == place).mean() for part in bins],
                marker="o",
                linestyle=style,
                color=f"C{place}",
                label=f"{name}: {label}" if len(models) > 1 else label,
            )
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def predicted_against_true(answers: Answers) -> Figure:
    """Draw predictions against what was true, as a density of rows."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot(title="Predicted against true (holdout)", xlabel="true", ylabel="predicted")
    axes.hexbin(answers.truth, answers.predictions, gridsize=40, mincnt=1, bins="log", cmap="Blues")
    ends = [float(answers.truth.min()), float(answers.truth.max())]
    axes.plot(ends, ends, linestyle=":", color="grey")
    return figure


def bits_per_byte(scored: Mapping[str, Answers]) -> Figure:
    """Draw how the rows of each model spread over bits per byte; those that pass their tests filled."""
    figure = Figure(figsize=(8, 1.5 + 1.5 * len(scored)), layout="constrained")
    panels = figure.subplots(len(scored), 1, sharex=True, squeeze=False)[:, 0]
    rows = {}
    for name, answers in scored.items():
        bits, size = MEANS["bits_per_byte"].values(answers).T
        rows[name] = bits / np.maximum(size, 1)
    bins = np.histogram_bin_edges(np.concatenate(list(rows.values())), bins=40)
    for axes, (name, answers) in zip(panels, scored.items(), strict=True):
        passed = MEANS["pass_rate"].values(answers) > 0
        axes.hist(
            [rows[name][passed], rows[name][~passed]],
            bins=bins,
            stacked=True,
            color=["C0", "lightgrey"],
            label=["passes its tests", "does not"],
        )
        axes.set(title=f"{name}: {passed.mean():.0%} pass", ylabel="rows")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    panels[-1].set_xlabel("bits per byte of the right text (holdout)")
    return figure


def loss_per_month(time: pd.Series, scored: Mapping[str, Answers]) -> Figure:
    """Draw the mean loss of each calendar month, one line per model, and its number of rows."""
    metric = _OVER_TIME[scored[CANDIDATE].task]
    words = metric.replace("_", " ")
    month = time.dt.to_period("M").dt.to_timestamp().to_numpy()
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.set(title=f"{words.capitalize()} per month (holdout)", ylabel=words)
    rows = pd.Series(1, index=month).groupby(level=0).sum()
    counts.bar(rows.index.to_numpy(), rows.to_numpy(), width=np.timedelta64(20, "D"), color="grey")
    counts.set_ylabel("rows")
    for name, answers in scored.items():
        per_month = pd.Series(MEANS[metric].values(answers)).groupby(month).mean()
        axes.plot(per_month.index.to_numpy(), per_month.to_numpy(), marker="o", label=name)
    counts.tick_params(axis="x", rotation=45)
    figure.legend(loc="outside lower center", ncols=3)
    return figure
