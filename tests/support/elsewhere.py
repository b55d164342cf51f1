"""The toy, trained by somebody else's code: a plain MLflow run, announced to Podium."""

from __future__ import annotations

import copy
import warnings
from datetime import UTC, datetime
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from podium.training import announce
from support.toy import TOY

ASSET = "trained toy elsewhere"
AS_OF = datetime(2025, 6, 1, tzinfo=UTC)
# Those of the toy's model file are held out.
HELD_OUT_FROM = "2025-02-21"


def elsewhere_toy(**changes: Any) -> dict[str, Any]:
    """The toy's model file, with the section `training` instead of a trainer."""
    content = {**copy.deepcopy(TOY), "training": {"asset": ASSET}, **changes}
    for key in ("trainer", "params", "requirements"):
        del content[key]
    content["gates"] = [
        {"min_holdout_rows": 50},
        {"max_train_overlap": 0.0},
        {"metric": "log_loss", "threshold": 0.69},
    ]
    return content


def train_elsewhere(
    model: str,
    rows: pd.DataFrame,
    *,
    as_of: datetime = AS_OF,
    until: str = HELD_OUT_FROM,
    told: pd.DataFrame | None = None,
    announced: bool = True,
    serialization_format: str = "skops",
) -> str:
    """Train on the rows before a day, log the model, and announce what it was trained on; returns the run."""
    known = rows[rows["day"] < until]
    estimator = LogisticRegression().fit(known[["x"]], known["y"])
    mlflow.set_experiment(model)
    with warnings.catch_warnings(), mlflow.start_run() as run:
        warnings.simplefilter("ignore")
        mlflow.sklearn.log_model(
            estimator,
            name="model",
            signature=infer_signature(known[["x"]], estimator.predict_proba(known[["x"]])),
            pyfunc_predict_fn="predict_proba",
            pip_requirements=["scikit-learn"],
            serialization_format=serialization_format,
        )
        if announced:
            announce(model, as_of=as_of, trained_on=known if told is None else told)
    return str(run.info.run_id)
