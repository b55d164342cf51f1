"""Metric functions of a user's, good and bad."""

import pandas as pd


def prediction(truth: pd.Series, predictions: pd.Series, columns: pd.DataFrame) -> pd.Series:
    """As a metric the mean prediction: of one row, any number that a test wants."""
    return predictions


def mean_prediction(truth: pd.Series, predictions: pd.Series, columns: pd.DataFrame) -> float:
    return float(predictions.mean())


def cost_of_misses(truth: pd.Series, predictions: pd.DataFrame, columns: pd.DataFrame) -> pd.Series:
    """What the wrong answers cost, by a column of the examples."""
    return columns["amount"] * (predictions.idxmax(axis=1) != truth)


def two_numbers(truth: pd.Series, predictions: pd.Series, columns: pd.DataFrame) -> list[float]:
    return [1.0, 2.0]


def crash(truth: pd.Series, predictions: pd.Series, columns: pd.DataFrame) -> float:
    raise KeyError("amount")


def cost_of_first(truth: pd.Series, predictions: pd.DataFrame, columns: pd.DataFrame) -> pd.Series:
    """What the wrong answers cost, by whichever column the gate names."""
    return columns.iloc[:, 0] * (predictions.idxmax(axis=1) != truth)


def tokens_per_character(truth: pd.Series, predictions: pd.DataFrame, columns: pd.DataFrame) -> pd.Series:
    """Of generated texts: what the truth and the named numbers say together."""
    return predictions["tokens"] / truth.str.len()
