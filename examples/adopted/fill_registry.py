"""Fill a registry as teams did before Podium: plain MLflow, pickles, an alias of their own.

set -a; . .podium/client.env; set +a
.venv/bin/python examples/adopted/fill_registry.py
"""

from __future__ import annotations

from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rows = pd.read_csv(Path(__file__).with_name("credit.csv"))
inputs = rows[["income", "debt"]]
mlflow.set_experiment("credit-notebooks")
for strength in (0.01, 0.1, 1.0):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength)).fit(inputs, rows["paid"])
    with mlflow.start_run(run_name=f"C={strength}"):
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(inputs, model.predict_proba(inputs)),
            pyfunc_predict_fn="predict_proba",
            pip_requirements=["scikit-learn"],
            serialization_format="pickle",
            registered_model_name="credit",
        )
client = mlflow.MlflowClient()
client.set_registered_model_alias("credit", "production", "3")
client.set_registered_model_alias("credit", "previous_champion", "2")
