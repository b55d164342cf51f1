"""The shipped model ``rossmann-ensemble``, and when its sample ends."""

from datetime import UTC, datetime

from podium.settings import PROJECT_ROOT

MODEL_FILE = PROJECT_ROOT / "include" / "models" / "rossmann_ensemble.yaml"
AS_OF = datetime(2015, 8, 1, tzinfo=UTC)
