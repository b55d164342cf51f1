"""What most teams do by hand, in one script: train, log, register, evaluate both, set the alias.

    python benchmarks/plain_lifecycle.py NAME AS_OF L2_STRENGTH

``benchmarks/lifecycle.py`` runs it beside Podium's lifecycle: the same data, trainer and MLflow server, and
MLflow's defaults for everything else. It prints the version that is champion afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient
from sklearn.metrics import log_loss

from podium.training import TrainingExamples
from trainers.soccer_match_outcome import INPUTS, match_examples, train

DATA = Path(__file__).parents[1] / "include" / "data" / "international_football_since_2000.csv.gz"


def main(name: str, as_of: str, l2_strength: float) -> None:
    """Train a version, and make it champion if it is no worse."""
    rows = pd.read_csv(DATA, parse_dates=["date"])
    examples = match_examples(rows[rows["date"] < as_of])
    held = examples["date"] >= pd.Timestamp(as_of) - pd.Timedelta(days=365)
    known, holdout = examples[~held], examples[held]
    inputs = TrainingExamples(inputs=known[list(INPUTS)], label=known["outcome"], time=known["date"])
    trained = train(inputs, {"l2_strength": l2_strength})
    mlflow.set_experiment(name)
    with mlflow.start_run():
        mlflow.log_param("l2_strength", l2_strength)
        mlflow.log_metric("log_loss", loss(trained.model, holdout))
        logged = mlflow.sklearn.log_model(trained.model, name="model", registered_model_name=name)
    version = str(logged.registered_model_version)
    client = MlflowClient()
    champion = client.get_registered_model(name).aliases.get("champion")
    if champion is None or no_worse(name, version, champion, holdout):
        client.set_registered_model_alias(name, "champion", version)
        champion = version
    sys.stdout.write(f"champion of {name}: version {champion}\n")


def no_worse(name: str, version: str, other: str, holdout: pd.DataFrame) -> bool:
    """Load both versions from the registry, and score them on the same rows."""
    losses = [
        loss(mlflow.sklearn.load_model(f"models:/{name}/{number}"), holdout) for number in (version, other)
    ]
    return losses[0] <= losses[1] + 0.002


def loss(model: object, holdout: pd.DataFrame) -> float:
    """Return a model's log loss."""
    answers = model.predict_proba(holdout[list(INPUTS)])  # type: ignore[attr-defined]
    return float(log_loss(holdout["outcome"], answers, labels=list(model.classes_)))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
