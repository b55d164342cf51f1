"""Contracts as exports have them: a date, an amount, a count, a flag and a country, and a model of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

TRUSTED = ["numpy.dtype", "sklearn.utils._bunch.Bunch"]


def contracts(rows: int = 300) -> pd.DataFrame:
    """Return contracts, without a gap."""
    draws = np.random.default_rng(9)
    return pd.DataFrame(
        {
            "signed_on": pd.to_datetime(
                draws.choice(pd.date_range("2025-01-01", "2025-12-01", freq="MS"), rows)
            ).astype("datetime64[ns]"),
            "amount": draws.uniform(10, 500, rows).round(2),
            "calls": draws.integers(0, 9, rows),
            "paperless": draws.uniform(size=rows) > 0.5,
            "country": draws.choice(["DE", "ÖS", "NA"], rows),
        }
    )


def lost(inputs: pd.DataFrame) -> Any:
    """Return which contracts are lost: each input has a part in it."""
    score = (
        0.01 * inputs["amount"]
        - 0.4 * inputs["calls"]
        + 0.2 * inputs["signed_on"].dt.month
        + inputs["paperless"]
    )
    return np.where(score + (inputs["country"] == "NA") > 2.5, "yes", "no")


def model_of(inputs: pd.DataFrame) -> Any:
    """Return a pipeline that takes each column as it is."""
    columns = ColumnTransformer(
        [
            (
                "months",
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                ["signed_on"],
            ),
            ("numbers", StandardScaler(), ["amount", "calls"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["paperless", "country"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(inputs, lost(inputs))
