"""Ask a model of one column of each kind for its answer to a value, in every way that there is.

Asked are ``/predict``, MLflow's protocol in JSON and csv, batch scoring of a table and of a csv, and MLflow.
"""

from __future__ import annotations

import base64
import copy
import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array, Map, Object, Property

from podium.errors import PodiumError, RequestRefused
from podium.registry.model_files import load_model
from podium.scoring.scorer import Scorer
from podium.serving.requests import CSV, JSON, Body, Dialect, Shape, read
from podium.sources.columns import NESTED, columns_of
from podium.sources.read import Chunk

# Answers with a number that tells any two inputs apart, types and gaps too.
FINGERPRINT = """
import hashlib
import mlflow
import pandas as pd

class Fingerprint(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        column = model_input["c"]
        return pd.Series([number(column.dtype, value) for value in column], dtype="float64")

def number(dtype, value):
    dtype = dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype
    missing = value is None or (pd.api.types.is_scalar(value) and pd.isna(value))
    text = f"{dtype} {'missing' if missing else repr(value)}"
    return float(int(hashlib.sha256(text.encode()).hexdigest()[:12], 16))

mlflow.models.set_model(Fingerprint())
"""
TYPES: dict[str, Any] = {
    "boolean": DataType.boolean,
    "integer": DataType.integer,
    "long": DataType.long,
    "float": DataType.float,
    "double": DataType.double,
    "string": DataType.string,
    "datetime": DataType.datetime,
    "binary": DataType.binary,
    "numbers": Array(DataType.double),
    "whole numbers": Array(DataType.long),
    "texts": Array(DataType.string),
    "matrix": Array(Array(DataType.double)),
    "object": Object([Property("p", DataType.long), Property("q", DataType.string, required=False)]),
    "map": Map(DataType.boolean),
    "any": AnyType(),
}
CASES = [(kind, required) for kind in TYPES for required in (True, False)]


@dataclass
class Models:
    """Models of one column ``c`` of each kind, saved once and loaded."""

    folder: Path
    loaded: dict[tuple[str, bool], PyFuncModel] = field(default_factory=dict)

    def of(self, kind: str, required: bool) -> PyFuncModel:
        if (kind, required) not in self.loaded:
            script, path = self.folder / "fingerprint.py", self.folder / f"{kind}-{required}"
            script.write_text(FINGERPRINT)
            columns = Schema([ColSpec(TYPES[kind], "c", required=required)])
            signature = ModelSignature(columns, Schema([ColSpec("double")]))
            mlflow.pyfunc.save_model(
                str(path), python_model=str(script), signature=signature, pip_requirements=["mlflow"]
            )
            self.loaded[kind, required] = load_model(path)
        return self.loaded[kind, required]


class Refused(str):
    """What was said instead of an answer."""


EMPTY = Refused("c: in a csv an empty text is a missing one")


def requested(model: PyFuncModel, body: str, content_type: str, dialect: Dialect) -> float | Refused:
    shape = Shape(columns_of(model.metadata.get_input_schema()))
    try:
        rows = read(Body(body.encode(), content_type, dialect), shape)
    except RequestRefused as error:
        return Refused(error)
    return float(np.asarray(model.predict(rows.values))[0])


def in_json(model: PyFuncModel, value: Any) -> float | Refused:
    return requested(model, json.dumps([{"c": for_json(value)}]), JSON, Dialect.PREDICT)


def invoked(model: PyFuncModel, value: Any) -> float | Refused:
    content = {"dataframe_split": {"columns": ["c"], "data": [[for_json(value)]]}}
    return requested(model, json.dumps(content), JSON, Dialect.INVOCATIONS)


def in_csv(model: PyFuncModel, value: Any) -> float | Refused:
    if for_json(value) == "":
        return EMPTY
    return requested(model, as_csv(value), CSV, Dialect.INVOCATIONS)


def in_batch(model: PyFuncModel, table: pa.Table) -> float | Refused:
    try:
        scorer = Scorer(model, labels=())
    except PodiumError as error:
        return Refused(error)
    readied = scorer.ready(Chunk(table, np.array([1])), "here")
    scored = scorer.score(readied)
    return Refused(scored.reasons[0]) if scored.reasons else float(scored.answers[0])


def in_a_table(model: PyFuncModel, value: Any) -> float | Refused:
    try:
        column = pa.array([value], from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return Refused("c cannot be in a table")
    return in_batch(model, pa.table({"c": column}))


def in_a_csv_file(model: PyFuncModel, value: Any) -> float | Refused:
    if for_json(value) == "":
        return EMPTY
    text = next(csv.DictReader(io.StringIO(as_csv(value))))["c"]
    return in_batch(model, pa.table({"c": pa.array([text.encode()])}))


def by_mlflow(model: PyFuncModel, value: Any) -> float | Refused:
    """Ask with a frame as a training has it. What is in columns of texts and flags MLflow does not check."""
    kind = columns_of(model.metadata.get_input_schema())[0].kind
    if kind in UNCHECKED and not (value is None or isinstance(value, UNCHECKED[kind])):
        return Refused("c is not asked for")
    dtype = "str" if kind == "string" else object if kind in NESTED or isinstance(value, bytes) else None
    value = copy.deepcopy(value)  # MLflow changes objects in place.
    if kind == "any" and value != value:
        value = None  # It would make a column of numbers of it.
    try:
        return float(np.asarray(model.predict(pd.DataFrame({"c": pd.Series([value], dtype=dtype)})))[0])
    except (MlflowException, OverflowError, ValueError, TypeError) as error:
        return Refused(f"c: {error}")


UNCHECKED: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "binary": bytes,
    "any": str | int | float | list | dict,
}
ROUTES: Mapping[str, Callable[[PyFuncModel, Any], float | Refused]] = {
    "/predict": in_json,
    "/invocations": invoked,
    "csv body": in_csv,
    "table": in_a_table,
    "csv file": in_a_csv_file,
    "MLflow": by_mlflow,
}


def for_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def as_csv(value: Any) -> str:
    written, value = io.StringIO(), for_json(value)
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    csv.writer(written).writerows([["c", "more"], ["" if missing else value, "1"]])
    return written.getvalue()


TIMES = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
# Good to the kind, whatever else there is.
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats() | st.just(math.nan),
    "string": WORDS.filter(str.strip),
    "datetime": TIMES,
    "binary": st.binary(max_size=5),
    "numbers": st.lists(st.floats(allow_nan=False), max_size=3),
    "whole numbers": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    "texts": st.lists(WORDS, max_size=3),
    "matrix": st.lists(st.lists(st.floats(allow_nan=False), min_size=1, max_size=2), max_size=2),
    "object": st.fixed_dictionaries({"p": st.integers(-9, 9)}, optional={"q": WORDS}),
    "map": st.dictionaries(st.sampled_from("ab"), st.booleans(), min_size=1),
    "any": st.sampled_from([1.5, "a", True, [1, 2], {"a": "b"}, None]),
}
ODD = [
    *(True, False, 0, 1, 2, -1, 0.0, 1.0, 2.0, 2.7, -0.0, 1e18, 1e39, 3.4e38, 16777217, 16777217.0),
    *(2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**60, 2**63, 2.0**53 + 2, math.nan, math.inf),
    *(None, "no", "yes", "true", "FALSE", "t", "1", "0", "1.0", "3.0", "3e0", "2.7", "1e400", "1e39", "inf"),
    *("9007199254740993", "9007199254740993.0", "99999999999999999999", "16777217", "1_000", "1,000.5"),
    *("0x10", "+5", " 5 ", " true ", "\u0663", "NA", "null", "NaN", "nan", "None", "NaT", "n/a", " DE"),
    *(
        "2025-03-01",
        "2025-03-01T00:00:00",
        "2025-03-01T00:00:00Z",
        "2025-03-01 01:00:00+01:00",
        " 2025-03-01 ",
    ),
    *("20250301", "1740787200000", "45717", "01.03.2025", "03/01/2025", "9999-12-31", "2025-02-30", "soon"),
    *(20250301, 1740787200, 1740787200000, 1740787200000000000, 45717, 45717.5),
    *(datetime(2025, 3, 1), datetime(2025, 3, 1, tzinfo=UTC), datetime(9999, 12, 31)),
    *([], [1, 2], [1.5], [0.0], ["a"], [True], [None], [[1]], [[]], [1, "a"], [2**53 + 1], [1e39], ["2.7"]),
    *({}, {"p": 1}, {"p": 1.0}, {"p": 1, "q": "x"}, {"p": "1"}, {"p": 1, "z": 1}, {"p": None}, {"q": "x"}),
    *({"p": True}, {"p": 1, "q": None}, {"a": True}, {"a": 1}, {"a": 2}, {"a": None}, {"a": "no"}),
]


NAMED = re.compile(r"\bc\b")


def answers(model: PyFuncModel, value: Any) -> dict[str, float | Refused]:
    return {route: ask(model, value) for route, ask in ROUTES.items()}


def assert_equal_or_refused(found: Mapping[str, float | Refused]) -> None:
    given = {route: said for route, said in found.items() if not isinstance(said, Refused)}
    assert len(set(given.values())) <= 1, found
    unnamed = [said for said in found.values() if isinstance(said, Refused) and not NAMED.search(said)]
    assert not unnamed, found
