"""Models that write code: their metrics, gates and evidence, and how they are scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from podium.errors import PodiumError, SpecError
from podium.gates.evidence import Evidence, Side, no_answers, read_sides, store_sides
from podium.gates.report import GateStatus
from podium.metrics.answers import Answers
from podium.metrics.generated_code import score_generation
from podium.metrics.measures import measure, own_values
from podium.metrics.plots import training_pictures
from podium.model_file.data import DataSpec
from podium.model_file.loading import load_spec
from podium.model_file.metric_names import GENERATED, TaskKind
from podium.settings import PROJECT_ROOT
from podium.training import holdout
from support.evidence import judge

MODEL_FILE = PROJECT_ROOT / "include" / "models" / "code_generation.yaml"
TRUTH = np.array(["ab", "abcd", "ä"], dtype=object)
# Nats, tokens, passed; of texts of 2, 4 and 2 bytes.
GOOD = np.array([[1.0, 2, 1], [3.0, 4, 1], [2.0, 2, 0]])
WORSE = np.array([[2.0, 2, 1], [6.0, 4, 0], [4.0, 2, 0]])
DATA = DataSpec(source="x", label="solution", inputs=("prompt",), tests="test", entry_point="name")
ROWS = pd.DataFrame(
    {
        "prompt": ["def one():\n", "def two():\n"],
        "solution": ["    return 1\n", "    return 2\n"],
        "test": [f"def check(candidate):\n    assert candidate() == {number}\n" for number in (1, 2)],
        "name": ["one", "two"],
    }
)


def answers(predictions: np.ndarray) -> Answers:
    return Answers(TaskKind.GENERATION, (), TRUTH, predictions)


def evidence(candidate: np.ndarray, champion: np.ndarray) -> Evidence:
    return Evidence(
        task=TaskKind.GENERATION,
        labels=(),
        truth=TRUTH,
        columns=pd.DataFrame(index=range(len(TRUTH))),
        groups=None,
        candidate=Side(candidate),
        references={"champion": Side(champion)},
    )


def test_metrics_of_generated_code() -> None:
    assert measure("perplexity", answers(GOOD)) == pytest.approx(np.exp(6 / 8))
    assert measure("bits_per_byte", answers(GOOD)) == pytest.approx(6 / np.log(2) / 8)
    assert measure("pass_rate", answers(GOOD)) == pytest.approx(2 / 3)


def test_an_own_metric_gets_the_texts_and_named_numbers() -> None:
    found = own_values("support.own_metrics:tokens_per_character", answers(GOOD), ())
    assert found.tolist() == [1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ({"metric": "perplexity", "threshold": 2.2}, True),
        ({"metric": "perplexity", "threshold": 2.0}, False),
        ({"metric": "pass_rate", "threshold": 0.6}, True),
        ({"metric": "pass_rate", "against": "champion", "min_improvement": 0.3}, True),
        ({"metric": "pass_rate", "against": "champion", "min_improvement": 0.4}, False),
        ({"metric": "perplexity", "against": "champion", "not_worse": {"resamples": 200}}, True),
        ({"metric": "bits_per_byte", "against": "champion", "not_worse": {"resamples": 200}}, True),
        ({"max_disagreement": 0.34}, True),
        ({"max_disagreement": 0.3}, False),
    ],
)
def test_gates_on_generated_code(said: dict[str, Any], passes: bool) -> None:
    found = judge(said, evidence(GOOD, WORSE))
    assert (found.status is GateStatus.PASSED) is passes, found


def test_a_worse_one_is_not_taken_for_no_worse() -> None:
    for metric in ("perplexity", "bits_per_byte"):
        rule = {"metric": metric, "against": "champion", "not_worse": {"resamples": 200}}
        assert judge(rule, evidence(WORSE, GOOD)).status is GateStatus.FAILED


def test_answers_are_kept_and_read_again(tmp_path: Path) -> None:
    store_sides(tmp_path, {"judged": Side(GOOD), "champion": Side(no_answers(3, GENERATED))}, GENERATED)
    found = read_sides(tmp_path, GENERATED)
    np.testing.assert_array_equal(found["judged"].predictions, GOOD)
    assert np.isnan(found["champion"].predictions).all()
    assert found["champion"].predictions.shape == (3, 3)


def test_the_picture_shows_each_model() -> None:
    timeless = pd.Series(pd.NaT, index=range(3), dtype="datetime64[ns]")
    pictures = training_pictures(timeless, {"candidate": answers(GOOD), "base": answers(WORSE)})
    assert list(pictures) == ["bits_per_byte"]
    assert [axes.get_title() for axes in pictures["bits_per_byte"].axes] == [
        "candidate: 67% pass",
        "base: 33% pass",
    ]


class Writer(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Knows one of two functions."""

    def predict(self, model_input: pd.DataFrame) -> Any:
        return ["    return 1\n"] * len(model_input)

    def log_likelihood(self, prompts: list[str], texts: list[str]) -> list[tuple[float, int]]:
        return [(0.5, len(text)) for text in texts]


class Silent(Writer):
    log_likelihood = None  # type: ignore[assignment]


class Short(Writer):
    def log_likelihood(self, prompts: list[str], texts: list[str]) -> list[tuple[float, int]]:
        return [(0.5, 1)]


class Lazy(Writer):
    def predict(self, model_input: pd.DataFrame) -> Any:
        return ["    return 1\n"]


class Loaded:
    """What Podium uses of a loaded model."""

    def __init__(self, model: Writer) -> None:
        self._model = model
        self.predict = model.predict

    def unwrap_python_model(self) -> Writer:
        return self._model


def test_what_is_written_is_run() -> None:
    found = score_generation(Loaded(Writer()), ROWS, DATA)
    assert found.tolist() == [[0.5, 13.0, 1.0], [0.5, 13.0, 0.0]]
    assert score_generation(Loaded(Writer()), ROWS[:0], DATA).shape == (0, 3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Silent(), "no method log_likelihood"),
        (Short(), r"answered with shape \(1, 2\), not \(2, 2\)"),
        (Lazy(), "a list of 2 texts"),
    ],
)
def test_a_model_that_breaks_the_protocol_is_named(model: Writer, message: str) -> None:
    with pytest.raises(PodiumError, match=message):
        score_generation(Loaded(model), ROWS, DATA)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  tests: test\n", "", "data.tests: missing; a generation is judged by each row's tests"),
        ("  entry_point: entry_point\n", "", "data.entry_point: missing"),
        (
            "inputs: [prompt]",
            "inputs: [prompt, task_id]",
            r"data.inputs: \[.*\]: of a generation must be one column",
        ),
        ("task: generation", "task: generation\nlabels: [a, b]", "only a classification has labels"),
        ("metric: perplexity", "metric: log_loss", "for classification, the task is generation; allowed"),
        ("task: generation", "task: regression", "only a generation has it; the task is regression"),
    ],
)
def test_a_wrong_model_file_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(MODEL_FILE.read_text().replace(old, new, 1))
    with pytest.raises(SpecError, match=message):
        load_spec(file)


def test_holdouts_keep_texts(tmp_path: Path) -> None:
    ROWS.to_parquet(tmp_path / "examples.parquet")
    (batch,) = holdout.batches(tmp_path)
    assert batch.equals(ROWS)
