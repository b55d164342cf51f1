"""Which examples are trained on, held out or validated on: chosen by content, so that equal rows agree."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import DataError
from podium.model_file.profiles import FEWEST_ROWS
from podium.model_file.spec import ModelSpec
from podium.model_file.types import HoldoutSpec
from podium.training.examples import DataWindow, TrainingExamples

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
        kept[side] = _chosen(spec, subset(window.train, side), share)
    holdout = subset(window.holdout, _chosen(spec, window.holdout, share))
    return replace(window, train=subset(window.train, kept), holdout=holdout)


def _chosen(spec: ModelSpec, examples: TrainingExamples, share: float) -> npt.NDArray[np.bool_]:
    count = min(max(math.ceil(share * len(examples)), FEWEST_ROWS), len(examples))
    if count == 0:
        return np.zeros(0, dtype=bool)
    content = examples.inputs if spec.data.group is None else examples.column(spec.data.group)
    hashes = content_hashes(content, _SALT)
    largest = np.partition(hashes, count - 1)[count - 1]
    return np.asarray(hashes <= largest)


def held_out(part: HoldoutSpec, examples: TrainingExamples, end: datetime, salt: int = 0) -> pd.Series:
    """Return which examples are kept apart: the newest days, or those whose content falls into the share.

    Args:
        part: How many days, or which share.
        examples: The examples to split.
        end: UTC without a zone; the days are those before it.
        salt: See ``content_hashes``.
    """
    if part.days is not None:
        return pd.Series(examples.time >= end - timedelta(days=part.days))
    content = examples.inputs if part.by is None else examples.column(part.by)
    share = content_hashes(content, salt).astype(np.float64) / float(2**64)
    return pd.Series(share < (part.share or 0.0), index=examples.label.index)


def content_hashes(content: pd.DataFrame | pd.Series, salt: int = 0) -> npt.NDArray[np.uint64]:
    """Return a number for each row, evenly from 0 to 2**64, that is equal for equal rows; shape (n,).

    Args:
        content: What a row's number is made of.
        salt: Rows whose numbers are small by one salt are any rows by another, so that shares that are taken
            one after the other by different salts are independent.
    """
    hashes = pd.util.hash_pandas_object(content, index=False).to_numpy(dtype=np.uint64)
    if not salt:
        return np.asarray(hashes)
    # Not by pandas' hash_key, which says nothing to numbers.
    return np.asarray(pd.util.hash_array(hashes ^ np.uint64(salt)), dtype=np.uint64)


def subset(examples: TrainingExamples, mask: pd.Series | npt.NDArray[np.bool_]) -> TrainingExamples:
    """Return those of the examples that a mask (n,) names, in their order."""
    return TrainingExamples(
        inputs=examples.inputs[mask].reset_index(drop=True),
        label=examples.label[mask].reset_index(drop=True),
        time=examples.time[mask].reset_index(drop=True),
        others=examples.others[mask].reset_index(drop=True),
    )


# Any number but that of another split of the same rows.
_SALT = 0x5EA7C4


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
                f"{spec.name}: search.validation: {spec.search.validation.describe()} of the "
                f"{len(validation):,} training examples leave none {what}"
            )
