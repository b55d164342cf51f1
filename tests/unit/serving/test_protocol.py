"""Clients of ``mlflow models serve`` are answered as ``pyfunc.predict`` answers, to the last bit."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, convert_input_example_to_serving_input, infer_signature
from mlflow.models.utils import load_serving_example
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import predictions_to_json
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types import ColSpec, Schema
from mlflow.utils.proto_json_utils import NumpyEncoder
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from podium.ledger.store import Ledger
from podium.registry.client import Registry
from podium.registry.example import EXAMPLE_OUTPUT
from podium.services import Services
from podium.settings import Settings
from support.contracts import TRUSTED as TRUSTED_OF_CONTRACTS
from support.contracts import contracts, model_of
from support.serving import Server, make_champion, register_model, register_run, serving

DRAWS = np.random.default_rng(3)
NUMBERS = pd.DataFrame({"a": DRAWS.normal(size=60), "b": DRAWS.normal(size=60), "c d": DRAWS.normal(size=60)})
TEXTS = pd.DataFrame({"text": ["good game", "bad loss", "fine, really", 'a "draw"', "naïve \U0001f3c6"] * 4})
SUM = """
import mlflow
import pandas as pd

class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        return model_input.sum(axis=1) * (params or {}).get("factor", 1.0)

mlflow.models.set_model(Sum())
"""
FLAGS = """
import mlflow
import pandas as pd

class Flags(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        return model_input["flag"].map({True: 1.0, False: 0.0}).fillna(-1.0).astype("float64")

mlflow.models.set_model(Flags())
"""
LENGTHS = """
import mlflow

class Lengths(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str]) -> list[int]:
        return [len(text) for text in model_input]

mlflow.models.set_model(Lengths())
"""


def log_code(folder: Path, code: str, example: Any, answer: Any, signature: ModelSignature | None) -> str:
    """Log a model from code as its own author would, with whatever signature; returns the run."""
    script = folder / "model_script.py"
    script.write_text(code)
    with mlflow.start_run() as run:
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(script),
            signature=signature,
            input_example=example,
            pip_requirements=["mlflow"],
            metadata={EXAMPLE_OUTPUT: np.asarray(answer).tolist()},
        )
    return str(run.info.run_id)


@pytest.fixture(scope="module")
def served(
    ledger_url: str, ledger_server_url: str, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server of models, each of another kind."""
    folder = tmp_path_factory.mktemp("protocol")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        patch.setenv("PODIUM_LEDGER_URL", ledger_url)
        patch.setenv("PODIUM_LEDGER_SERVER_URL", ledger_server_url)
        services = Services(settings=Settings(), registry=Registry(mlflow_uri), ledger=Ledger(ledger_url))
        labels = np.where(NUMBERS["a"] > NUMBERS["b"], "yes", "no")
        trees = RandomForestClassifier(10, random_state=0).fit(NUMBERS, labels)
        line = LinearRegression().fit(NUMBERS, NUMBERS["a"] * 2 + NUMBERS["b"])
        words = make_pipeline(
            ColumnTransformer([("words", CountVectorizer(), "text")]), LogisticRegression()
        ).fit(TEXTS, ["up", "down", "up", "down", "up"] * 4)
        trusted = ["sklearn.tree._tree.Tree"]
        numbers = {
            "p-forest": register_model(
                services, "p-forest", trees, NUMBERS, classifies=True, trusted=trusted
            ),
            "p-line": register_model(services, "p-line", line, NUMBERS),
            "p-words": register_model(services, "p-words", words, TEXTS, classifies=True),
        }
        dated = contracts()
        numbers["p-dates"] = register_model(
            services, "p-dates", model_of(dated), dated, classifies=True, trusted=TRUSTED_OF_CONTRACTS
        )
        head, array = NUMBERS.head(3), NUMBERS.head(3).to_numpy()
        total = head.sum(axis=1)
        optional = ModelSignature(
            Schema([ColSpec("boolean", "flag", required=False)]), Schema([ColSpec("double")])
        )
        unnamed = ModelSignature(Schema([ColSpec("double")] * 3), Schema([ColSpec("double")]))
        logged = {
            "p-params": log_code(folder, SUM, head, total, infer_signature(head, total, {"factor": 1.0})),
            "p-tensor": log_code(folder, SUM, array, total, infer_signature(array, total)),
            "p-unnamed": log_code(folder, SUM, array, total, unnamed),
            "p-hints": log_code(folder, LENGTHS, ["good", "better"], [4, 6], None),
            "p-flag": log_code(folder, FLAGS, pd.DataFrame({"flag": [True, False]}), [1.0, 0.0], optional),
        }
        numbers |= {name: register_run(services, name, run) for name, run in logged.items()}
        for name, number in numbers.items():
            make_champion(services, name, number)
        with serving(services, *numbers) as server:
            server.wait_until_ready()
            yield server


def pyfunc(server: Server, name: str) -> PyFuncModel:
    return server.app.state.models[name].version().pyfunc


def invoked(server: Server, name: str, content: Any) -> Any:
    body = content if isinstance(content, str) else json.dumps(content, cls=NumpyEncoder)
    response = server.client.post(
        f"/models/{name}/invocations", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200, response.text
    assert response.headers["X-Model-Version"] == "1"
    assert len(response.headers["X-Model-Digest"]) == 64
    return response.json()["predictions"]


def same(found: Any, expected: Any) -> None:
    """Compare what was answered with a prediction: what Python reads, and what MLflow's server writes."""
    written = io.StringIO()
    predictions_to_json(expected, written)
    assert found == json.loads(written.getvalue())["predictions"]
    if isinstance(expected, np.ndarray):
        assert np.asarray(found, dtype=expected.dtype).tobytes() == expected.tobytes()


TABLES = {
    "p-forest": NUMBERS,
    "p-line": NUMBERS,
    "p-words": TEXTS,
    "p-params": NUMBERS,
    "p-dates": contracts(),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_format_of_a_table_is_answered_as_predict_answers(served: Server, name: str) -> None:
    table = TABLES[name].tail(7)
    expected = pyfunc(served, name).predict(table)
    records = table.to_dict("records")
    split = {"columns": list(table), "data": table.to_numpy(object).tolist()}
    for content in (
        {"dataframe_split": split},
        {"dataframe_split": table.to_dict("split")},
        {"dataframe_records": records},
        {"instances": records},
        {"inputs": table.to_dict("list")},
        {"inputs": records},
    ):
        same(invoked(served, name, content), expected)
    csv = {"content": table.to_csv(index=False), "headers": {"Content-Type": "text/csv"}}
    same(served.client.post(f"/models/{name}/invocations", **csv).json()["predictions"], expected)
    same(served.client.post(f"/models/{name}/predict-mlflow", **csv).json()["predictions"], expected)
    body = json.dumps(records, cls=NumpyEncoder)
    headers = {"Content-Type": "application/json"}
    plain = served.client.post(f"/models/{name}/predict", content=body, headers=headers).json()
    same(plain["predictions"], expected)
    assert (plain["model"], plain["version"]) == (name, 1)


@pytest.mark.parametrize("name", [*TABLES, "p-tensor", "p-unnamed", "p-hints"])
def test_mlflows_own_client_and_serving_examples_are_answered_as_predict_answers(
    served: Server, name: str
) -> None:
    model = pyfunc(served, name)
    example = model.input_example
    expected = model.predict(example)
    host, port = served.url.removeprefix("http://").split(":")
    client = ScoringServerClient(host, f"{port}/models/{name}")
    answer = client.invoke(example if isinstance(example, (pd.DataFrame, list)) else np.asarray(example))
    same(answer["predictions"], expected)
    assert len(answer.get_predictions()) == len(expected)
    same(invoked(served, name, convert_input_example_to_serving_input(example)), expected)
    saved = load_serving_example(f"models:/{name}/1")
    same(invoked(served, name, saved), expected)


def test_params_are_handed_on(served: Server) -> None:
    table = NUMBERS.head(4)
    expected = pyfunc(served, "p-params").predict(table, params={"factor": 2.5})
    content = {"dataframe_split": table.to_dict("split"), "params": {"factor": 2.5}}
    same(invoked(served, "p-params", content), expected)
    host, port = served.url.removeprefix("http://").split(":")
    client = ScoringServerClient(host, f"{port}/models/p-params")
    same(client.invoke(table, params={"factor": 2.5})["predictions"], expected)
    wrong = {"dataframe_split": table.to_dict("split"), "params": {"factor": "much"}}
    refused = served.client.post("/models/p-params/invocations", json=wrong)
    assert refused.status_code == 400
    assert "factor" in refused.json()["message"]


def test_versions_without_named_columns_take_what_mlflow_reads(served: Server) -> None:
    rows = NUMBERS.tail(5).to_numpy()
    csv = {"content": NUMBERS.tail(5).to_csv(index=False), "headers": {"Content-Type": "text/csv"}}
    for name in ("p-tensor", "p-unnamed"):
        expected = pyfunc(served, name).predict(rows)
        for content in ({"inputs": rows.tolist()}, {"instances": rows.tolist()}):
            same(invoked(served, name, content), expected)
        from_csv = served.client.post(f"/models/{name}/invocations", **csv)
        assert from_csv.status_code == 200, from_csv.text
        same(from_csv.json()["predictions"], pyfunc(served, name).predict(NUMBERS.tail(5)))
        plain = served.client.post(f"/models/{name}/predict", json=rows.tolist())
        same(plain.json()["predictions"], expected)
        for wrong in ([[1, "x", 2]], [[1, 2]], [[[1]]], [{"a": 1}, {"b": 2}], [1, [2]], [None]):
            refused = served.client.post(f"/models/{name}/invocations", json={"inputs": wrong})
            assert refused.status_code == 400, refused.text
            assert len(refused.text) < 600
    same(invoked(served, "p-hints", {"inputs": ["a", "bcd"]}), [1, 3])
    same(served.client.post("/models/p-hints/predict", json=["a", "bcd"]).json()["predictions"], [1, 3])
    assert served.client.post("/models/p-hints/predict", json=[1]).status_code == 400


def test_what_the_model_cannot_take_is_refused_with_its_columns(served: Server) -> None:
    for value in (None, float("nan"), float("inf")):
        row = {"a": 1.0, "b": 1.0, "c d": value}
        for route, content in (("predict", [row]), ("invocations", {"dataframe_records": [row]})):
            refused = served.client.post(
                f"/models/p-line/{route}",
                content=json.dumps(content),
                headers={"Content-Type": "application/json"},
            )
            assert refused.status_code == 400
            assert refused.json()["message"].endswith("missing or infinite values in column c d")
            assert refused.headers["X-Model-Version"] == "1"


def test_a_classification_is_answered_with_its_labels(served: Server) -> None:
    answer = served.client.post("/models/p-forest/predict", json=NUMBERS.head(5).to_dict("records")).json()
    assert answer["classes"] == ["no", "yes"]
    likeliest = np.asarray(answer["predictions"]).argmax(axis=1)
    assert answer["labels"] == [answer["classes"][at] for at in likeliest]


def test_the_document_describes_the_columns_of_each_model(served: Server) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]
    schema = paths["/models/p-forest/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["items"]["properties"] == {name: {"type": ["number", "null"]} for name in NUMBERS}
    schema = paths["/models/p-words/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["items"]["required"] == ["text"]


CONTRACT = {
    "signed_on": "2025-03-01T00:00:00",
    "amount": 100.0,
    "calls": 2,
    "paperless": True,
    "country": "DE",
}
SAME = [
    {},
    {"signed_on": "2025-03-01T00:00:00Z"},
    {"signed_on": "2025-03-01"},
    {"signed_on": "2025-03-01T01:00:00+01:00"},
    {"calls": 2.0},
    {"paperless": 1},
]
OTHERS: dict[str, dict[str, Any]] = {
    "a text": {"paperless": "no"},
    "a text, not a long": {"calls": "2"},
    "2.7, not a whole number": {"calls": 2.7},
    "true or false, not a double": {"amount": True},
    "a number, not a string": {"country": 5},
    "a number, not a datetime": {"signed_on": 1740787200000},
    "a number, not a datetime ": {"signed_on": 20250301},
    "'01.03.2025', not a datetime in ISO 8601": {"signed_on": "01.03.2025"},
    "null, and a long has none": {"calls": None},
    "null, and a boolean has none": {"paperless": None},
    "a list, not a double": {"amount": [1.0]},
}


def test_one_column_of_dates_loosens_no_other(served: Server) -> None:
    first = served.client.post("/models/p-dates/predict", json=[CONTRACT]).json()["predictions"]
    for change in SAME:
        found = served.client.post("/models/p-dates/predict", json=[{**CONTRACT, **change}])
        assert found.json()["predictions"] == first, change
    for why, change in OTHERS.items():
        rows = [CONTRACT, {**CONTRACT, **change}]
        content = {"dataframe_records": rows}
        for route, body in (("predict", rows), ("invocations", content)):
            refused = served.client.post(f"/models/p-dates/{route}", json=body)
            assert refused.status_code == 400, change
            assert f"column {next(iter(change))}, row 1: {why.strip()}" in refused.json()["message"]
    typing_error = {**CONTRACT, "countri": "DE"}
    refused = served.client.post("/models/p-dates/predict", json=[typing_error])
    assert "unknown column countri" in refused.json()["message"]
    without = {name: value for name, value in CONTRACT.items() if name != "signed_on"}
    refused = served.client.post("/models/p-dates/predict", json=[CONTRACT, without])
    assert "row 1: missing column signed_on" in refused.json()["message"]


def test_a_csv_body_is_as_strict(served: Server) -> None:
    def asked(route: str, change: dict[str, Any]) -> Any:
        row = {**CONTRACT, **change}
        body = ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"
        headers = {"Content-Type": "text/csv"}
        return served.client.post(f"/models/p-dates/{route}", content=body, headers=headers)

    first = served.client.post("/models/p-dates/predict", json=[CONTRACT]).json()["predictions"]
    for change in (
        {},
        {"signed_on": "2025-03-01"},
        {"calls": "2.0"},
        {"paperless": "1"},
        {"amount": " 1e2 "},
    ):
        for route in ("predict", "invocations"):
            assert asked(route, change).json()["predictions"] == first, change
    for change in (
        {"paperless": "no"},
        {"paperless": ""},
        {"calls": "2.7"},
        {"calls": "NA"},
        {"amount": "true"},
        {"signed_on": "20250301"},
        {"signed_on": "01.03.2025"},
    ):
        for route in ("predict", "invocations"):
            refused = asked(route, change)
            assert refused.status_code == 400, change
            assert f"column {next(iter(change))}, row 0: " in refused.json()["message"]
    assert "unknown column countri" in asked("predict", {"countri": "DE"}).json()["message"]
    assert asked("invocations", {"countri": "DE"}).headers["X-Ignored-Columns"] == "countri"


def test_a_flag_may_be_null_where_the_signature_says_optional(served: Server) -> None:
    flags = [{"flag": True}, {"flag": None}, {"flag": False}]
    for rows in (flags, flags[1:2], flags[::2]):
        expected = pyfunc(served, "p-flag").predict(pd.DataFrame(rows))
        same(served.client.post("/models/p-flag/predict", json=rows).json()["predictions"], expected)
        same(invoked(served, "p-flag", {"dataframe_records": rows}), expected)
    found = served.client.get("/openapi.json").json()["paths"]["/models/p-flag/predict"]
    schema = found["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["items"]["properties"] == {"flag": {"type": ["boolean", "null"]}}
    assert schema["items"]["required"] == []
