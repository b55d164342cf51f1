"""Fewer examples, for a profile: chosen by their content, so that equal rows make equal choices."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from podium.lifecycle.profile_rules import FEWEST_ROWS
from podium.model_file.spec import ModelSpec
from podium.training.data import DataWindow, TrainingExamples, content_hashes, where
from podium.training.search import validation_rows

# Any number but that of another split of the same rows.
_SALT = 0x7411


def thinned(spec: ModelSpec, window: DataWindow, share: float) -> DataWindow:
    """Return the window with a share of the examples of each side, at least ``FEWEST_ROWS`` of each.

    Sides are the training examples, those among them that a search validates on, and the holdout. A side that
    has fewer rows keeps them all; the lists of a ranking stay whole.

    Args:
        spec: The model file.
        window: The examples, made of all rows.
        share: 0 to 1.
    """
    validation = validation_rows(spec, window)
    kept = np.zeros(len(window.train), dtype=bool)
    for side in (~validation, validation):
        kept[side] = _chosen(spec, where(window.train, side), share)
    holdout = where(window.holdout, _chosen(spec, window.holdout, share))
    return replace(window, train=where(window.train, kept), holdout=holdout)


def _chosen(spec: ModelSpec, examples: TrainingExamples, share: float) -> npt.NDArray[np.bool_]:
    count = min(max(math.ceil(share * len(examples)), FEWEST_ROWS), len(examples))
    if count == 0:
        return np.zeros(0, dtype=bool)
    content = examples.inputs if spec.data.group is None else examples.column(spec.data.group)
    hashes = content_hashes(content, _SALT)
    largest = np.partition(hashes, count - 1)[count - 1]
    return np.asarray(hashes <= largest)
