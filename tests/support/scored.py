"""A model whose rows are scored in batches and judged in windows, with all that may be odd about rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from podium.ledger.served_counts import Span
from podium.ledger.store import Ledger
from podium.metrics.reference import Reference, make_reference, with_answers
from podium.metrics.windows import Window
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.scoring.run import plan, score_planned
from podium.services import Services
from podium.training.run import FromCode
from support import counted_script
from support.serving import make_champion, register_model
from support.toy import NUMBER_TOY

SCRIPT = FromCode(Path(counted_script.__file__), {})
# The day before the clocks go back in Berlin, as of which the versions were trained.
BEGAN = datetime(2025, 10, 25, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURLY = {"windows": "0 * * * *", "min_rows": 1}
RULES = {
    "x": {"type": "number", "max": 40.0, "max_null_share": 0.01},
    "c": {"allowed": ["a", "b", "other"], "max_null_share": 1.0},
    "b": {"type": "boolean", "max_null_share": 1.0},
}


def hour(number: int) -> Window:
    return Window(BEGAN + number * HOUR, BEGAN + (number + 1) * HOUR)


def known_rows() -> pd.DataFrame:
    """What the versions were trained on: a number, a text, and a flag that may be missing."""
    draws = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "x": draws.normal(size=400),
            "c": draws.choice(["a", "b"], 400),
            "b": np.array([True, False, None] * 133 + [True], dtype=object),
        }
    )


def reference() -> Reference:
    rows = known_rows()
    times = pd.Series(pd.date_range(BEGAN - 400 * HOUR, periods=400, freq="h"))
    features = make_reference(rows, times, "0 * * * *")
    answers = make_reference(rows[["x"]].set_axis(["prediction"], axis=1), times, "0 * * * *")
    return replace(with_answers(features, answers), at_promotion=0.5, metric="mean_absolute_error")


def scored_spec(name: str, **changed: Any) -> ModelSpec:
    """A model file; ``scoring``, ``monitoring``, ``data`` and ``rules`` get other keys."""
    formats = ["%Y-%m-%d %H:%M:%S%z", "%Y-%m-%d %H:%M:%S"]
    data = {"inputs": ["x", "c", "b"], "time_formats": formats, **changed.get("data", {})}
    scoring = {"source": "new", "output": "scores", "keys": ["id"], **changed.get("scoring", {})}
    return ModelSpec.model_validate(
        {
            **NUMBER_TOY,
            "name": name,
            "data": {**NUMBER_TOY["data"], **data},
            "gates": [*NUMBER_TOY["gates"], {"schema": {**RULES, **changed.get("rules", {})}}],
            "scoring": scoring,
            "monitoring": {**HOURLY, **changed.get("monitoring", {})},
        }
    )


def scored_model(services: Services, **changed: Any) -> ModelSpec:
    """A champion with bins among its files."""
    spec = scored_spec(f"scored-{uuid.uuid4().hex[:8]}", **changed)
    new_champion(services, spec)
    return spec


def new_champion(services: Services, spec: ModelSpec, bins: Reference | None = None) -> int:
    as_of = {str(Tag.AS_OF): BEGAN.replace(tzinfo=None).isoformat()}
    found = reference() if bins is None else bins
    number = register_model(services, spec.name, SCRIPT, known_rows(), reference=found, **as_of)
    make_champion(services, spec.name, number)
    return number


def rows(count: int, hours: Sequence[int], seed: int = 0) -> pd.DataFrame:
    """Rows of these hours, in no order."""
    draws = np.random.default_rng(seed)
    seconds = draws.choice(hours, count) * 3600 + draws.integers(0, 3600, count)
    moments = pd.Timestamp(BEGAN) + pd.to_timedelta(seconds, unit="s")
    return pd.DataFrame(
        {
            "id": range(count),
            "day": pd.Series(moments),
            "x": draws.normal(size=count),
            "c": draws.choice(["a", "b"], count),
            "b": draws.choice(np.array([True, False, None], dtype=object), count),
        }
    )


def write(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    path = folder / "new" / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


def score(services: Services, spec: ModelSpec, only: str = "*", version: str | None = None) -> int:
    """Score partitions, and return how many rows."""
    planned = plan(services, spec, version, only, allow_rolled_back=False)
    return sum(score_planned(services, spec, one, cleared=False).rows for one in planned)


def kept(ledger: Ledger, spec: ModelSpec) -> list[tuple[int, str, bool]]:
    """Which partitions are counted, by which version, and whether by scoring."""
    query = "SELECT version, partition, whole FROM scored_partitions WHERE model = %(model)s ORDER BY 1, 2"
    with ledger.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query, {"model": spec.name})]


def span(window: Window) -> Span:
    return Span(window.start, window.end)
