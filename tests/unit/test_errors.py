"""Every error is in one tree, with a code of its own that is printed with its message."""

from __future__ import annotations

import ast
import re

import pytest

from podium import errors
from podium.errors import NotFound, Outage, PodiumError
from podium.operations.program import exit_with_message
from podium.settings import PROJECT_ROOT

# Not of the tree: pydantic asks for a ValueError, the program in the sandbox imports nothing of Podium, and
# who reads a value tells its place to the room that knows the row.
OUTSIDE = {"WrongKey", "NotPlain", "Unfit"}
TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PodiumError)]


def test_all_errors_that_leave_their_module_are_in_the_tree() -> None:
    names = {kind.__name__ for kind in TREE}
    for path in (PROJECT_ROOT / "include" / "podium").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and path.name != "errors.py":
                bases = {ast.unparse(base) for base in node.bases}
                is_error = bases & (names | {"Exception", "ValueError", "TypeError", "RuntimeError"})
                assert not is_error or node.name.startswith("_") or node.name in OUTSIDE, (
                    f"{path}: {node.name}"
                )


def test_each_has_a_code_of_its_own_and_its_place_in_the_drawing() -> None:
    codes = {kind.__dict__.get("code") for kind in TREE}
    assert len(codes) == len(TREE)
    assert None not in codes
    assert all(re.fullmatch(r"PODIUM-[A-Z]+(-[A-Z]+)*", str(code)) for code in codes)
    drawn = re.findall(r"^(?:[│├└─ ]*)([A-Z]\w+) {2,}", str(errors.__doc__), re.MULTILINE)
    assert sorted(drawn) == sorted(kind.__name__ for kind in TREE)


@pytest.mark.parametrize("error", [NotFound("toy has no v7"), Outage("MLflow did not answer")])
def test_a_program_ends_with_message_and_code_and_no_traceback(
    error: PodiumError, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_with_message("podium"):
        raise error
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"podium: {error} [{error.code}]")
    assert "Traceback" not in said.err
