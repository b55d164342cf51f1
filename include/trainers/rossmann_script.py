"""The model ``rossmann-ensemble`` as it is loaded: three boosters and their weights. It needs no Podium."""

import json
from pathlib import Path

import catboost
import lightgbm
import mlflow
import numpy as np
import pandas as pd
import xgboost

THREADS = 1


class Ensemble(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A weighted sum of what three boosters say; each of them learned the log of the sales."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Read the boosters and their weights."""
        files = context.artifacts
        stored = json.loads(Path(files["weights"]).read_text(encoding="utf-8"))
        self._inputs: list[str] = stored["inputs"]
        self._weights: dict[str, float] = stored["weights"]
        self._lightgbm = lightgbm.Booster(model_file=files["lightgbm"])
        self._xgboost = xgboost.Booster({"nthread": THREADS}, model_file=files["xgboost"])
        self._catboost = catboost.CatBoost().load_model(files["catboost"])

    def predict(self, model_input: pd.DataFrame) -> np.ndarray:
        """Return the sales of each row, (n,)."""
        inputs = model_input[self._inputs].to_numpy(np.float64)
        logs = {
            "lightgbm": self._lightgbm.predict(inputs, num_threads=THREADS),
            "xgboost": self._xgboost.inplace_predict(inputs),
            "catboost": self._catboost.predict(inputs, thread_count=THREADS),
        }
        return np.asarray(sum(self._weights[name] * np.exp(log) for name, log in logs.items()))


mlflow.models.set_model(Ensemble())
