"""MLflow of these tests: with the toy trained in it."""

from support.proved_here import fresh_process, models_are_proved_here
from support.trained import mlflow_uri

__all__ = ["fresh_process", "mlflow_uri", "models_are_proved_here"]
