"""A metric of a user's own."""

import pandas as pd


def cost_of_mistakes(truth: pd.Series, predictions: pd.DataFrame, columns: pd.DataFrame) -> pd.Series:
    """Three for an away win that was called a home win, one for any other mistake."""
    called = predictions.idxmax(axis=1)
    mistakes = (called != truth).astype(float)
    return mistakes.mask((truth == "away") & (called == "home"), 3.0)
