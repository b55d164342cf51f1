"""The made-up programming tasks, and how the trainer's examples are made of tasks with warts."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.metrics.sandbox.judge import CodeTask, check_references
from podium.model_file.loading import load_spec
from podium.settings import PROJECT_ROOT
from podium.training.data import load_window
from synthetic.code_tasks import COLUMNS, KINDS, code_tasks, main
from trainers.code_tasks import LONGEST_TASK, task_examples

DATA = PROJECT_ROOT / "include" / "data"
FILE = DATA / "code_tasks.parquet"
GOOD = {
    "task_id": "Test/0",
    "prompt": 'def add(a, b):\n    """Add."""\n',
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    "entry_point": "add",
}
COPY = 'def plus(a, b):\n    """Add."""\n'


def counted(*rows: dict[str, object]) -> tuple[pd.DataFrame, dict[str, int]]:
    made = task_examples(pd.DataFrame([{**GOOD, **row} for row in rows]))
    return made, made.attrs["counted"]


def test_the_shipped_file_is_what_the_generator_makes() -> None:
    assert pd.read_parquet(FILE).equals(code_tasks(600, 0))
    page = (DATA / "README.md").read_text(encoding="utf-8").partition("## code_tasks.parquet")[2]
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in page
    assert "| Rows | 600 |" in page


def test_the_command_writes_a_file_of_humanevals_columns(tmp_path: Path) -> None:
    main(["--rows", "20", "--seed", "3", "--output", str(tmp_path / "tasks.parquet")])
    written = pd.read_parquet(tmp_path / "tasks.parquet")
    assert tuple(written) == COLUMNS
    assert written.equals(code_tasks(20, 3))
    assert not written.equals(code_tasks(20, 4))
    with pytest.raises(ValueError, match="rows: from 1 to"):
        code_tasks(10**6, 0)


def test_each_kind_of_function_is_right() -> None:
    tasks = code_tasks(sum(len(kind.names) * len(kind.arguments) * len(kind.says) for kind in KINDS), 1)
    examples = task_examples(tasks)
    columns = ["prompt", "canonical_solution", "test", "entry_point"]
    solved = examples.dropna(subset=["canonical_solution"])
    verdicts = check_references([CodeTask(*row) for row in solved[columns].itertuples(index=False)])
    assert all(verdict.passed for verdict in verdicts)
    assert len(solved) > 800
    wrong = tasks["canonical_solution"].str.contains("return not").sum()
    assert 0 < examples.attrs["counted"]["solutions_that_fail_their_tests"] <= wrong


def test_every_wart_of_the_shipped_file_is_reported_in_numbers() -> None:
    spec = load_spec(PROJECT_ROOT / "include" / "models" / "code_generation.yaml")
    report = load_window(spec, datetime(2026, 1, 1, tzinfo=UTC), PROJECT_ROOT).report
    assert (report.read, report.duplicated, report.unlabelled, report.examples) == (600, 10, 5, 577)
    assert report.counted == {
        "texts_with_line_ends_of_Windows": 15,
        "prompts_in_a_code_fence": 20,
        "prompts_with_HTML": 8,
        "byte_order_marks": 16,
        "names_read_from_the_prompt": 5,
        "solutions_that_fail_their_tests": 8,
    }
    assert "16 byte order marks" in report.describe()


@pytest.mark.parametrize(
    ("change", "wart"),
    [
        ({"prompt": "\ufeff" + COPY}, "byte_order_marks"),
        ({"prompt": COPY.replace("\n", "\r\n")}, "texts_with_line_ends_of_Windows"),
        ({"prompt": f"```python\n{COPY}```"}, "prompts_in_a_code_fence"),
        ({"prompt": f"```\r\n{COPY}```\n"}, "prompts_in_a_code_fence"),
        ({"prompt": f"<pre><code>{COPY.replace(chr(34), '&quot;')}</code></pre>"}, "prompts_with_HTML"),
        ({"prompt": COPY, "entry_point": None}, "names_read_from_the_prompt"),
        ({"prompt": COPY, "entry_point": " "}, "names_read_from_the_prompt"),
    ],
)
def test_what_can_be_mended_is(change: dict[str, object], wart: str) -> None:
    made, counts = counted({}, {"entry_point": "plus", **change})
    assert list(made["prompt"]) == [GOOD["prompt"], COPY]
    assert list(made["entry_point"]) == ["add", "plus"]
    assert counts[wart] == 1


@pytest.mark.parametrize(
    ("change", "wart"),
    [
        ({"prompt": None}, "tasks_without_a_prompt"),
        ({"prompt": " \n"}, "tasks_without_a_prompt"),
        ({"test": None}, "tasks_without_tests"),
        ({"prompt": COPY + "#" * LONGEST_TASK}, "tasks_too_long"),
        ({}, "prompts_of_an_earlier_task"),
        ({"prompt": "x = 1\n", "entry_point": None}, "tasks_without_a_name"),
        ({"prompt": COPY}, "solutions_that_fail_their_tests"),  # the entry point is not defined
        (
            {"prompt": COPY, "entry_point": "plus", "canonical_solution": "    return a\n"},
            "solutions_that_fail_their_tests",
        ),
        (
            {"prompt": COPY, "entry_point": "plus", "canonical_solution": "    exit(0)\n"},
            "solutions_that_fail_their_tests",
        ),
    ],
)
def test_what_cannot_be_used_is_left_out(change: dict[str, object], wart: str) -> None:
    made, counts = counted({}, change)
    assert list(made["prompt"]) == [GOOD["prompt"]]
    assert counts[wart] == 1


def test_a_task_without_a_solution_is_left_for_podium_to_drop() -> None:
    made, counts = counted({}, {"prompt": COPY, "entry_point": "plus", "canonical_solution": None})
    assert list(made["canonical_solution"].isna()) == [False, True]
    assert counts == {}


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="no column test, entry_point; HumanEval's are task_id, prompt"):
        task_examples(pd.DataFrame([GOOD]).drop(columns=["test", "entry_point"]))


CELLS = st.none() | st.text(max_size=30) | st.sampled_from([str(value) for value in GOOD.values()])


@settings(max_examples=10)
@given(st.lists(st.tuples(*[CELLS] * len(COLUMNS)), max_size=4))
def test_no_text_ends_it(rows: list[tuple[str | None, ...]]) -> None:
    made = task_examples(pd.DataFrame(rows, columns=list(COLUMNS), dtype="object"))
    assert len(made) <= len(rows)
    assert made["prompt"].notna().all()
