"""A task for generated code, and solutions of it."""

from __future__ import annotations

from podium.metrics.sandbox.judge import CodeTask, Limits

ADD = CodeTask(
    prompt='def add(a, b):\n    """Return the sum."""\n',
    reference="    return a + b\n",
    test="def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate([1], [2]) == [1, 2]\n",
    entry_point="add",
)
HASTY = Limits(cpu_seconds=1, wall_seconds=3.0)
RIGHT = "    return a + b\n"


def body(*lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines)
