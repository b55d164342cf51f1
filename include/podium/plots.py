"""Pictures of a classifier on the holdout, for people who would rather look than read numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from podium.metrics import Indices, Probabilities, log_loss_per_row

CALIBRATION_BINS = 10


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


def calibration(truth: Indices, probabilities: Probabilities, labels: Sequence[str]) -> Figure:
    """Draw how often each label came true against its predicted probability, in bins of equal size."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot(
        title="Calibration (holdout)", xlabel="predicted probability", ylabel="observed share"
    )
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey", label="perfect")
    for index, label in enumerate(labels):
        predicted = probabilities[:, index]
        order = np.array_split(np.argsort(predicted, kind="stable"), min(CALIBRATION_BINS, len(predicted)))
        axes.plot(
            [predicted[part].mean() for part in order],
            [(truth[part] == index).mean() for part in order],
            marker="o",
            label=label,
        )
    axes.legend()
    return figure


def loss_per_month(time: pd.Series, truth: Indices, predictions: Mapping[str, Probabilities]) -> Figure:
    """Draw the mean log loss of each calendar month, one line per model, and its number of rows."""
    month = time.dt.to_period("M").dt.to_timestamp().to_numpy()
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.set(title="Log loss per month (holdout)", ylabel="log loss")
    rows = pd.Series(1, index=month).groupby(level=0).sum()
    counts.bar(rows.index.to_numpy(), rows.to_numpy(), width=np.timedelta64(20, "D"), color="grey")
    counts.set_ylabel("rows")
    for name, probabilities in predictions.items():
        per_month = pd.Series(log_loss_per_row(truth, probabilities)).groupby(month).mean()
        axes.plot(per_month.index.to_numpy(), per_month.to_numpy(), marker="o", label=name)
    counts.tick_params(axis="x", rotation=45)
    axes.legend()
    return figure
