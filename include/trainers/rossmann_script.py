"""The model ``rossmann-ensemble`` as it is loaded: a line and three boosters. It needs no Podium."""

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
    """A weighted sum of three boosters; each learned what a line leaves over of the log of the sales."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Read the line, the boosters and their weights."""
        files = context.artifacts
        stored = json.loads(Path(files["weights"]).read_text(encoding="utf-8"))
        self._inputs: list[str] = stored["inputs"]
        self._weights: dict[str, float] = stored["weights"]
        self._factor: float = stored["factor"]
        self._intercept: float = stored["line"]["intercept"]
        self._slopes: dict[str, float] = stored["line"]["slopes"]
        self._lightgbm = lightgbm.Booster(model_file=files["lightgbm"])
        self._xgboost = xgboost.Booster({"nthread": THREADS}, model_file=files["xgboost"])
        self._catboost = catboost.CatBoost().load_model(files["catboost"])

    def predict(self, model_input: pd.DataFrame) -> np.ndarray:
        """Return the sales of each row, (n,)."""
        inputs = model_input[self._inputs].to_numpy(np.float64)
        line = model_input[list(self._slopes)].to_numpy(np.float64) @ np.array(list(self._slopes.values()))
        left = {
            "lightgbm": self._lightgbm.predict(inputs, num_threads=THREADS),
            "xgboost": self._xgboost.inplace_predict(inputs),
            "catboost": self._catboost.predict(inputs, thread_count=THREADS),
        }
        together = sum(self._weights[name] * np.exp(log) for name, log in left.items())
        return np.asarray(self._factor * np.exp(self._intercept + line) * together)


mlflow.models.set_model(Ensemble())
