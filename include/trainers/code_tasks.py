"""The examples of the model ``code-generation``: programming tasks as HumanEval has them, cleaned."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable

import pandas as pd

from podium.metrics.sandbox import CodeTask, check_references

COLUMNS = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
# Characters of prompt and solution together; a longer one is no function but a pasted file.
LONGEST_TASK = 4000

_FENCE = re.compile(r"\A\s*```[\w+-]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_TAGS = re.compile(r"</?(?:pre|code|p|div|span)(?:\s[^<>]*)?>", re.IGNORECASE)
_NAME = re.compile(r"^(?:async )?def (\w+)", re.MULTILINE)


def task_examples(tasks: pd.DataFrame) -> pd.DataFrame:
    """Turn tasks into examples; what was wrong with them is counted.

    Byte order marks, line ends of Windows, code fences and HTML around a prompt are taken out. A task is left
    out without a prompt or tests, if it is longer than ``LONGEST_TASK``, if an earlier one has its prompt, or
    if its own solution does not pass its tests in the sandbox. One without a solution is for Podium to drop.

    Args:
        tasks: One row per task, with ``COLUMNS``.

    Returns:
        ``COLUMNS``, and ``solution_lines`` for slices; ``attrs["counted"]`` says what was found.

    Raises:
        ValueError: A column is missing; says which there are.
    """
    if missing := [column for column in COLUMNS if column not in tasks]:
        raise ValueError(
            f"no column {', '.join(missing)}; HumanEval's are {', '.join(COLUMNS)}; available: "
            f"{', '.join(map(str, tasks.columns))}"
        )
    counts: Counter[str] = Counter()
    cleaned = tasks[list(COLUMNS)].astype("object").where(tasks[list(COLUMNS)].notna(), None)
    for column, clean in (("prompt", _prompt), ("canonical_solution", _code), ("test", _code)):
        texts = [None if text is None else clean(str(text), counts) for text in cleaned[column]]
        # As objects: a column of texts would make NaN of None.
        cleaned[column] = pd.Series(texts, index=cleaned.index, dtype="object")
    kept = _whole(cleaned, counts)
    kept["entry_point"] = _names(kept, counts)
    kept = kept[kept["entry_point"].notna()]
    kept = _right(kept.reset_index(drop=True), counts)
    kept["solution_lines"] = [str(code or "").strip().count("\n") + 1 for code in kept["canonical_solution"]]
    kept.attrs["counted"] = {name: count for name, count in counts.items() if count}
    return kept


def _prompt(text: str, counts: Counter[str]) -> str:
    text = _code(text, counts)
    if fenced := _FENCE.match(text):
        counts["prompts_in_a_code_fence"] += 1
        text = fenced[1] + "\n"
    if _TAGS.match(text.lstrip()):
        counts["prompts_with_HTML"] += 1
        text = html.unescape(_TAGS.sub("", text))
    return text


def _code(text: str, counts: Counter[str]) -> str:
    if text.startswith("\ufeff"):
        counts["byte_order_marks"] += 1
        text = text.lstrip("\ufeff")
    if "\r" in text:
        counts["texts_with_line_ends_of_Windows"] += 1
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def _whole(tasks: pd.DataFrame, counts: Counter[str]) -> pd.DataFrame:
    """Return the tasks that can be asked and judged, each prompt once; the first with a solution counts."""

    def left_out(reason: str, wrong: Callable[[pd.DataFrame], pd.Series]) -> None:
        nonlocal tasks
        mask = wrong(tasks).astype(bool)
        counts[reason] += int(mask.sum())
        tasks = tasks[~mask]

    left_out("tasks_without_a_prompt", lambda rows: rows["prompt"].map(_is_empty))
    left_out("tasks_without_tests", lambda rows: rows["test"].map(_is_empty))
    left_out(
        "tasks_too_long",
        lambda rows: rows["prompt"].map(len) + rows["canonical_solution"].fillna("").map(len) > LONGEST_TASK,
    )
    solved = tasks["canonical_solution"].notna()
    left_out("prompts_of_an_earlier_task", lambda rows: rows["prompt"].where(solved).duplicated() & solved)
    return tasks.copy()


def _is_empty(text: object) -> bool:
    return not isinstance(text, str) or not text.strip()


def _names(tasks: pd.DataFrame, counts: Counter[str]) -> list[str | None]:
    """Return the names of the functions; one that is missing is the last that the prompt begins to define."""
    names: list[str | None] = []
    for name, prompt in zip(tasks["entry_point"], tasks["prompt"], strict=True):
        if name is not None and str(name).strip():
            names.append(str(name).strip())
            continue
        defined = _NAME.findall(prompt)
        counts["names_read_from_the_prompt" if defined else "tasks_without_a_name"] += 1
        names.append(defined[-1] if defined else None)
    return names


def _right(tasks: pd.DataFrame, counts: Counter[str]) -> pd.DataFrame:
    """Leave out tasks whose own solution does not pass: nobody could learn or be judged by them."""
    solved = tasks.index[tasks["canonical_solution"].notna()]
    columns = ["prompt", "canonical_solution", "test", "entry_point"]
    verdicts = check_references(
        [CodeTask(*row) for row in tasks.loc[solved, columns].itertuples(index=False)]
    )
    wrong = [place for place, verdict in zip(solved, verdicts, strict=True) if not verdict.passed]
    counts["solutions_that_fail_their_tests"] += len(wrong)
    return tasks.drop(index=wrong).reset_index(drop=True)
