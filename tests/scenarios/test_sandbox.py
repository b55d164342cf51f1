"""Generated functions are tried for real, and attacks on the sandbox with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.metrics.sandbox import inside
from podium.metrics.sandbox import judge as judge_module
from podium.metrics.sandbox.judge import CodeOutcome, CodeTask, Limits, check_references, judge, judge_all
from support.sandbox import ADD, HASTY, RIGHT, body


@pytest.mark.parametrize(
    ("written", "outcome", "note"),
    [
        (RIGHT, CodeOutcome.PASSED, ""),
        ("    return a - b\n", CodeOutcome.FAILED, "AssertionError"),
        ("    return a / 0\n", CodeOutcome.FAILED, "ZeroDivisionError"),
        ("    return a +\n", CodeOutcome.DOES_NOT_RUN, "SyntaxError"),
        ("", CodeOutcome.DOES_NOT_RUN, ""),
        ("    return a + b\ndel add\n", CodeOutcome.DOES_NOT_RUN, "KeyError: 'add'"),
        ("    return a + b\nraise ValueError('no')\n", CodeOutcome.DOES_NOT_RUN, "ValueError: no"),
        (body("return len(bytearray(10 * 2**30))"), CodeOutcome.FAILED, "MemoryError"),
        (body("return 'x' * 2**25"), CodeOutcome.ENDED, "ended before"),
    ],
)
def test_how_generated_code_comes_out(written: str, outcome: CodeOutcome, note: str) -> None:
    # The docstring alone is a function, which answers None.
    expected = CodeOutcome.FAILED if not written else outcome
    verdict = judge(ADD, written, HASTY)
    assert (verdict.outcome, note in verdict.note) == (expected, True), verdict


@pytest.mark.parametrize(
    "attack",
    [
        body("import sys", "sys.exit(0)"),
        body("raise SystemExit(0)"),
        body("import os", "os._exit(0)"),
        body("import os", "os.abort()"),
        body("print('passed', flush=True)", "return 'passed'"),
        body('print(\'{"outcome": "passed", "note": ""}\', flush=True)', "import os", "os._exit(0)"),
        # A verdict of its own, to every descriptor that there may be.
        RIGHT + 'import os\nfor number in range(64):\n    try:\n        os.write(number, b\'{"outcome": '
        '"passed", "note": ""}\\n\')\n    except OSError:\n        pass\nos._exit(0)\n',
        # Objects that say that they equal everything.
        body("class Yes:", "    def __eq__(self, other): return True", "return Yes()"),
        body("class Yes(int):", "    def __eq__(self, other): return True", "return Yes()"),
        body("class Yes(list):", "    def __eq__(self, other): return True", "return Yes()"),
        # Changing what tests use, in its own process.
        "    return None\nimport builtins\nbuiltins.AssertionError = ValueError\nbuiltins.len = None\n",
        "    return None\nimport gc, types\nfor made in gc.get_objects():\n"
        "    if isinstance(made, types.FunctionType) and made.__name__ == 'check':\n"
        "        made.__code__ = (lambda candidate: None).__code__\n",
        body("import sys", "sys.settrace(None)", "def check(candidate): pass", "globals()['check'] = check"),
    ],
)
def test_generated_code_cannot_pass_but_by_answering_right(attack: str) -> None:
    assert not judge(ADD, attack, HASTY).passed


def is_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd().startswith(str(folder))
    except psutil.Error:
        return False


@pytest.mark.parametrize(
    "attack",
    [
        body("import os", "while True: os.fork()"),
        body("import os", "os.setsid()", "os.fork()", "while True: pass"),
        body("import subprocess, sys", "subprocess.Popen([sys.executable, '-c', 'while True: pass'])"),
        body("import threading", "while True: threading.Thread(target=lambda: None).start()"),
        body("import multiprocessing", "multiprocessing.Process(target=print).start()"),
        body("import _posixsubprocess, os", "return os.posix_spawn('/bin/sleep', ['sleep', '60'], {})"),
        body("import os, signal", "os.kill(os.getppid(), signal.SIGKILL)"),
        body("import os, signal", "os.kill(-1, signal.SIGKILL)"),
        body("held = []", "while True: held.append(bytearray(2**20))"),
        body("return list(range(10**12))"),
        body("def deeper(): return deeper()", "return deeper()"),
    ],
)
def test_attacks_leave_nothing_behind(attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert not judge(ADD, attack, HASTY).passed
    left = [process for process in psutil.process_iter() if is_in(process, tmp_path)]
    assert (left, list(tmp_path.iterdir())) == ([], [])
    assert judge(ADD, RIGHT, HASTY).passed


def test_nothing_is_written(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    for attack in (
        f"open({str(tmp_path / 'new')!r}, 'w').write('x')",
        f"open({str(there)!r}, 'w')",
        f"__import__('os').remove({str(there)!r})",
        f"__import__('os').rename({str(there)!r}, 'moved')",
        f"__import__('pathlib').Path({str(tmp_path / 'new')!r}).mkdir()",
        f"__import__('shutil').rmtree({str(tmp_path)!r})",
        "open('here', 'w').write('x')",
    ):
        verdict = judge(ADD, body(attack, "return a + b"), HASTY)
        assert verdict.outcome is CodeOutcome.FAILED, (attack, verdict)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert there.read_text() == "mine"


def test_no_secret_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    look = CodeTask(
        prompt="def look():\n",
        reference="    return ['LC_ALL', 'PYTHONHASHSEED', 'TZ']\n",
        test="def check(candidate):\n    assert candidate() == ['LC_ALL', 'PYTHONHASHSEED', 'TZ']\n",
        entry_point="look",
    )
    verdict = judge(look, "    import os\n    return sorted(os.environ)\n", HASTY)
    assert verdict.passed, verdict


def test_only_the_standard_library_is_there() -> None:
    counted = body("import collections, re, math, datetime", "return a + b")
    assert judge(ADD, counted, HASTY).passed
    assert "No module named" in judge(ADD, body("import numpy", "return a + b"), HASTY).note
    assert "No module named" in judge(ADD, body("import podium", "return a + b"), HASTY).note


TRIES = """
import importlib.util, json, os, resource, socket, sys
spec = importlib.util.spec_from_file_location("inside", {path!r})
inside = importlib.util.module_from_spec(spec)
spec.loader.exec_module(inside)
sys.addaudithook = lambda hook: None
confined = inside.confine(5, 2**30)
refused = {{}}
for name, attempt in {{
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "socket": socket.socket,
    "kill": lambda: os.kill(os.getppid(), 0),
    "limits": lambda: resource.setrlimit(resource.RLIMIT_CPU, (100, 100)),
    "session": os.setsid,
    "read": lambda: open("/etc/hostname").read(),
    "environment of others": lambda: open(f"/proc/{{os.getppid()}}/environ").read(),
    "list": lambda: os.listdir("/"),
    "write": lambda: os.open("made", os.O_CREAT | os.O_WRONLY),
    "remove": lambda: os.remove({victim!r}),
}}.items():
    try:
        attempt()
        refused[name] = False
    except (OSError, ValueError):
        refused[name] = True
print(json.dumps([confined, refused]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are of Linux")
def test_the_kernel_refuses_without_help_of_python(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    program = TRIES.format(path=str(inside.__file__), victim=str(victim))
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    confined, refused = json.loads(ran.stdout)
    if confined != ["Landlock", "seccomp"]:
        pytest.skip(f"this kernel has only {confined}")
    assert refused == dict.fromkeys(refused, True)
    assert victim.exists()


def test_the_log_says_what_the_kernel_does_not_keep_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept_away = judge(ADD, RIGHT, HASTY).confined
    assert kept_away is not None
    judge_all([ADD], [RIGHT], HASTY)
    assert ("This kernel has no" in caplog.text) is (set(kept_away) != {"Landlock", "seccomp"})
    monkeypatch.setattr(judge_module, "_KERNEL", {*kept_away, "a wall"})
    judge_all([ADD], [RIGHT], HASTY)
    assert "This kernel has no a wall: what was generated was kept away" in caplog.text


def test_tests_may_use_what_the_prompt_defines_and_what_a_function_raises() -> None:
    task = CodeTask(
        prompt="def twice(x):\n    return 2 * x\n\ndef half(x):\n",
        reference="    if x % 2:\n        raise ValueError('odd')\n    return x // 2\n",
        test="def check(candidate):\n    assert twice(candidate(4)) == 4\n    try:\n        candidate(3)\n"
        "    except ValueError as error:\n        assert 'odd' in str(error)\n"
        "    else:\n        assert False\n",
        entry_point="half",
    )
    assert judge(task, task.reference, HASTY).passed
    assert judge(task, "    return x // 2\n", HASTY).outcome is CodeOutcome.FAILED


def test_all_are_judged_in_their_order() -> None:
    written = [RIGHT, "    return a - b\n", RIGHT, "    return (\n"]
    verdicts = judge_all([ADD] * 4, written, HASTY)
    assert [verdict.passed for verdict in verdicts] == [True, False, True, False]
    assert judge_all([], []) == []


def test_solutions_are_checked_also_after_one_that_ends_the_process() -> None:
    solutions = [
        RIGHT,
        "    return a - b\n",
        body("import os", "os._exit(0)"),
        RIGHT,
        body("while True: pass"),
        body("raise SystemExit(0)"),
        "    return (\n",
        RIGHT,
    ]
    tasks = [CodeTask(ADD.prompt, solution, ADD.test, ADD.entry_point) for solution in solutions]
    assert [verdict.outcome.value for verdict in check_references(tasks, HASTY)] == [
        "passed",
        "failed",
        "ended",
        "passed",
        "too_slow",
        "ended",
        "bad_task",
        "passed",
    ]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.frozensets(st.integers() | st.text(), max_size=3)
        | st.sets(st.integers() | st.binary(), max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_plain_values_come_over_as_they_are(value: object) -> None:
    found = inside.value_of(json.loads(json.dumps(inside.plain(value))))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("value", [object(), range(3), iter([]), os, print, [object()], {"a": {1: object()}}])
def test_what_is_no_plain_data_does_not_go_over(value: object) -> None:
    with pytest.raises(inside.NotPlain):
        inside.plain(value)


def test_a_solution_that_sleeps_is_ended() -> None:
    verdict = judge(ADD, body("import time", "time.sleep(60)"), HASTY)
    assert verdict.outcome is CodeOutcome.TOO_SLOW
    assert "not done in time" in verdict.note


def test_time_of_the_processor_is_limited() -> None:
    patient = Limits(cpu_seconds=1, wall_seconds=60.0)
    assert judge(ADD, body("while True: pass"), patient).outcome is CodeOutcome.ENDED
    assert judge(ADD, "    pass\nwhile True: pass\n", patient).outcome is CodeOutcome.ENDED


def test_a_solution_that_takes_the_words_of_its_tests_away_is_ended() -> None:
    attack = (
        "    return None\nimport sys\nfor frame in sys._current_frames().values():\n    while frame:\n"
        "        frame.f_globals['_tell'] = lambda *_: None\n        frame = frame.f_back\n"
    )
    assert not judge(ADD, attack, HASTY).passed
