"""Own detectors of the tests' model files."""

from __future__ import annotations

import pandas as pd


def spread(reference: pd.DataFrame, window: pd.DataFrame) -> float:
    """Say by how much a window is wider than the reference."""
    return float(window["x"].std() - reference["x"].std())


def nothing(reference: pd.DataFrame, window: pd.DataFrame) -> None:
    """Return what is no number."""


def broken(reference: pd.DataFrame, window: pd.DataFrame) -> float:
    """Raise."""
    raise KeyError("x2")
