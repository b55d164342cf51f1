"""Made-up programming tasks in the schema of OpenAI's HumanEval, with warts; seeded.

    python -m synthetic.code_tasks --rows 600 --output include/data/code_tasks.parquet

HumanEval (https://huggingface.co/datasets/openai/openai_humaneval) has a row per task: ``task_id``,
``prompt`` (signature and docstring), ``canonical_solution`` (the body), ``test`` (defines
``check(candidate)``) and ``entry_point`` (the function's name). These tasks are far easier: a few kinds of
one-line functions, each under many names, with many wordings and argument names, so that a tiny model can
learn them.
"""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

COLUMNS = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
BYTE_ORDER_MARK = "\ufeff"

# How many of a hundred rows have which wart.
_DUPLICATES, _MISSING, _WRONG = 2.0, 1.0, 1.0
_CRLF, _BYTE_ORDER_MARKS, _FENCES, _HTML, _NAMELESS = 3.0, 2.0, 3.0, 2.0, 1.0

Row = tuple[str, str, str | None, str, str | None]


@dataclass(frozen=True)
class Kind:
    """A kind of function.

    Attributes:
        names: What it may be called.
        arguments: What its arguments may be called, each time as many as it has.
        says: Wordings of the docstring; ``{0}`` is the first argument.
        body: The expression that it returns.
        right: The same in Python, to work out the expected values.
        cases: Arguments of the tests.
    """

    names: Sequence[str]
    arguments: Sequence[tuple[str, ...]]
    says: Sequence[str]
    body: str
    right: Callable[..., Any]
    cases: Sequence[tuple[Any, ...]]


# A kind, a name, names of the arguments, a wording.
Variant = tuple[Kind, str, tuple[str, ...], str]

_TWO = (("a", "b"), ("x", "y"), ("left", "right"), ("first", "second"))
_ONE = (("n",), ("x",), ("number",), ("value",))
_TEXT = (("text",), ("s",), ("word",), ("line",))
_LIST = (("items",), ("values",), ("numbers",), ("xs",))
_PAIRS = ((3, 4), (0, 7), (-2, 5), (10, -10), (6, 6))
_NUMBERS = ((0,), (3,), (-4,), (17,), (10,))
_TEXTS = (("",), ("a",), ("level",), ("Hello world",), ("one two three",))
_LISTS = (([1],), ([3, 1, 2],), ([5, 5, -1],), ([-2, 8, 0, 4],))

KINDS: tuple[Kind, ...] = (
    Kind(
        ("add", "plus", "sum_of_two", "add_numbers"),
        _TWO,
        ("Return the sum of {0} and {1}.", "Add {1} to {0}.", "Return {0} plus {1}."),
        "{0} + {1}",
        lambda a, b: a + b,
        _PAIRS,
    ),
    Kind(
        ("subtract", "minus", "difference", "take_away"),
        _TWO,
        ("Return {0} minus {1}.", "Subtract {1} from {0}.", "Return the difference of {0} and {1}."),
        "{0} - {1}",
        lambda a, b: a - b,
        _PAIRS,
    ),
    Kind(
        ("multiply", "times", "product", "product_of_two"),
        _TWO,
        ("Return the product of {0} and {1}.", "Multiply {0} by {1}.", "Return {0} times {1}."),
        "{0} * {1}",
        lambda a, b: a * b,
        _PAIRS,
    ),
    Kind(
        ("larger", "maximum", "greater_of", "max_of_two"),
        _TWO,
        ("Return the larger of {0} and {1}.", "Return the maximum of {0} and {1}.", "Which is greater?"),
        "max({0}, {1})",
        max,
        _PAIRS,
    ),
    Kind(
        ("smaller", "minimum", "lesser_of", "min_of_two"),
        _TWO,
        ("Return the smaller of {0} and {1}.", "Return the minimum of {0} and {1}.", "Which is less?"),
        "min({0}, {1})",
        min,
        _PAIRS,
    ),
    Kind(
        ("is_even", "even", "check_even", "divisible_by_two"),
        _ONE,
        ("Return whether {0} is even.", "Is {0} even?", "True if {0} can be halved."),
        "{0} % 2 == 0",
        lambda n: n % 2 == 0,
        _NUMBERS,
    ),
    Kind(
        ("is_odd", "odd", "check_odd", "not_even"),
        _ONE,
        ("Return whether {0} is odd.", "Is {0} odd?", "True if {0} cannot be halved."),
        "{0} % 2 == 1",
        lambda n: n % 2 == 1,
        _NUMBERS,
    ),
    Kind(
        ("square", "squared", "power_of_two", "square_of"),
        _ONE,
        ("Return the square of {0}.", "Square {0}.", "Return {0} times itself."),
        "{0} * {0}",
        lambda n: n * n,
        _NUMBERS,
    ),
    Kind(
        ("double", "twice", "doubled", "two_times"),
        _ONE,
        ("Return {0} doubled.", "Double {0}.", "Return twice {0}."),
        "2 * {0}",
        lambda n: 2 * n,
        _NUMBERS,
    ),
    Kind(
        ("absolute", "magnitude", "abs_value", "without_sign"),
        _ONE,
        ("Return the absolute value of {0}.", "Return {0} without its sign.", "How far is {0} from zero?"),
        "abs({0})",
        abs,
        _NUMBERS,
    ),
    Kind(
        ("reverse", "backwards", "reversed_text", "turn_around"),
        _TEXT,
        ("Return {0} reversed.", "Reverse {0}.", "Return {0} from back to front."),
        "{0}[::-1]",
        lambda text: text[::-1],
        _TEXTS,
    ),
    Kind(
        ("shout", "to_upper", "upper_case", "capitals"),
        _TEXT,
        ("Return {0} in upper case.", "Make {0} upper case.", "Return {0} in capitals."),
        "{0}.upper()",
        str.upper,
        _TEXTS,
    ),
    Kind(
        ("is_palindrome", "palindrome", "same_backwards", "mirrored"),
        _TEXT,
        ("Return whether {0} is a palindrome.", "Is {0} a palindrome?", "Does {0} read the same backwards?"),
        "{0} == {0}[::-1]",
        lambda text: text == text[::-1],
        _TEXTS,
    ),
    Kind(
        ("count_words", "word_count", "number_of_words", "how_many_words"),
        _TEXT,
        ("Return the number of words in {0}.", "Count the words of {0}.", "How many words has {0}?"),
        "len({0}.split())",
        lambda text: len(text.split()),
        _TEXTS,
    ),
    Kind(
        ("total", "sum_all", "sum_of_list", "add_up"),
        _LIST,
        ("Return the sum of all {0}.", "Add up {0}.", "Return the total of {0}."),
        "sum({0})",
        sum,
        _LISTS,
    ),
    Kind(
        ("last", "last_item", "final_element", "at_the_end"),
        _LIST,
        ("Return the last of {0}.", "Return the final element of {0}.", "What is at the end of {0}?"),
        "{0}[-1]",
        lambda items: items[-1],
        _LISTS,
    ),
    Kind(
        ("sort", "in_order", "sorted_list", "ascending"),
        _LIST,
        ("Return {0} in ascending order.", "Sort {0}.", "Return {0} sorted."),
        "sorted({0})",
        sorted,
        _LISTS,
    ),
    Kind(
        ("spread", "value_range", "width", "max_minus_min"),
        _LIST,
        ("Return the largest less the smallest of {0}.", "How wide is {0}?", "Return the range of {0}."),
        "max({0}) - min({0})",
        lambda items: max(items) - min(items),
        _LISTS,
    ),
)


def code_tasks(rows: int, seed: int) -> pd.DataFrame:
    """Make tasks: ``COLUMNS``, ``rows`` of them; the same for the same seed.

    Raises:
        ValueError: More rows than there are different tasks.
    """
    draw = Random(seed)  # noqa: S311 - nothing secret
    tasks: list[Variant] = [
        (kind, name, arguments, says)
        for kind in KINDS
        for name in kind.names
        for arguments in kind.arguments
        for says in kind.says
    ]
    if not 0 < rows <= len(tasks):
        raise ValueError(f"rows: from 1 to {len(tasks)} (so many different tasks there are), not {rows}")
    made: list[Row] = []
    for number, variant in enumerate(draw.sample(tasks, rows)):
        if made and _happens(draw, _DUPLICATES):
            made.append(draw.choice(made))
        else:
            made.append(_with_warts(draw, _task(draw, number, variant)))
    return pd.DataFrame(made, columns=list(COLUMNS)).astype("str")


def write_code_tasks(path: Path, rows: int, seed: int) -> None:
    """Write tasks as HumanEval's are published: one parquet file."""
    code_tasks(rows, seed).to_parquet(path, index=False)


def _task(draw: Random, number: int, variant: Variant) -> tuple[str, str, str, str, str]:
    kind, name, arguments, says = variant
    docstring = says.format(*arguments)
    prompt = f'def {name}({", ".join(arguments)}):\n    """{docstring}"""\n'
    if draw.random() < 0.25:
        case = draw.choice(kind.cases)
        example = f">>> {name}({', '.join(map(repr, case))})\n    {kind.right(*case)!r}"
        prompt = f'def {name}({", ".join(arguments)}):\n    """{docstring}\n\n    {example}\n    """\n'
    asserts = "".join(
        f"    assert candidate({', '.join(map(repr, case))}) == {kind.right(*case)!r}\n"
        for case in kind.cases
    )
    return (
        f"Synthetic/{number}",
        prompt,
        f"    return {kind.body.format(*arguments)}\n",
        f"def check(candidate):\n{asserts}",
        name,
    )


def _with_warts(draw: Random, task: tuple[str, str, str, str, str]) -> Row:
    number, prompt, solution, test, name = task
    right: str | None = solution
    if _happens(draw, _WRONG):
        right = solution.replace("return ", "return not ")
    elif _happens(draw, _MISSING):
        right = None
    if _happens(draw, _FENCES):
        prompt = f"```python\n{prompt}```\n"
    elif _happens(draw, _HTML):
        prompt = f"<pre><code>{html.escape(prompt)}</code></pre>"
    if _happens(draw, _CRLF):
        prompt = prompt.replace("\n", "\r\n")
    if _happens(draw, _BYTE_ORDER_MARKS):
        prompt = BYTE_ORDER_MARK + prompt
    return number, prompt, right, test, None if _happens(draw, _NAMELESS) else name


def _happens(draw: Random, in_a_hundred: float) -> bool:
    return draw.random() * 100 < in_a_hundred


def main(arguments: Sequence[str]) -> None:
    """Write a file, as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m synthetic.code_tasks", description="Write code tasks.")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="a .parquet file")
    asked = parser.parse_args(arguments)
    write_code_tasks(asked.output, asked.rows, asked.seed)


if __name__ == "__main__":
    main(sys.argv[1:])
