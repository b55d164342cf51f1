"""Run generated functions against tests: in processes of their own, with limits, nothing of ours in reach.

Two processes per task. The *player* runs the generated code; the *judge* runs the tests, and asks the
player for the value of each call. Only plain data (numbers, text, lists and the like) goes between them, and
only the judge can say that the tests passed, through a pipe that the player does not have. So generated code
cannot pass by exiting, by printing, by changing ``assert`` or the test, or by answering with an object that
equals everything: it has to answer right.

What holds everywhere (rlimits, a process group that is killed whole): CPU seconds, wall-clock seconds,
memory, no written files, no further processes (of a user that is not root), an empty environment and folder.
What Linux adds where its kernel has it: seccomp (no processes, signals, network or memory of others, root
too) and Landlock (of the file system nothing but Python's library, to read). Elsewhere, as on macOS, Python's
audit hooks refuse the same, which native code could get around: do not judge models that you do not trust
there.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory, TemporaryFile
from time import monotonic
from typing import Any

from podium.errors import PodiumError

log = logging.getLogger(__name__)

_PROGRAM = Path(__file__).with_name("inside.py")
_LONGEST_VERDICT = 10_000
# What the program inside calls the kernel's own means.
_KERNEL = frozenset({"Landlock", "seccomp"})


class CodeOutcome(StrEnum):
    """How the tests of a task came out."""

    PASSED = "passed"
    FAILED = "failed"
    DOES_NOT_RUN = "does_not_run"
    ENDED = "ended"
    TOO_SLOW = "too_slow"
    BAD_TASK = "bad_task"


@dataclass(frozen=True)
class Limits:
    """What one task may use, its tests included.

    Attributes:
        cpu_seconds: Of each of the two processes.
        wall_seconds: Of both together; all is killed then.
        memory_bytes: Address space of each process.
        longest_answer: Bytes of one answer of the function.
    """

    cpu_seconds: int = 2
    wall_seconds: float = 10.0
    memory_bytes: int = 512 * 2**20
    longest_answer: int = 10 * 2**20


@dataclass(frozen=True)
class CodeTask:
    """A function to write, as HumanEval has them.

    Attributes:
        prompt: Code up to the function's body.
        reference: The right body.
        test: Code that defines ``check(candidate)``, which raises unless the candidate is right.
        entry_point: The function's name.
    """

    prompt: str
    reference: str
    test: str
    entry_point: str


@dataclass(frozen=True)
class Verdict:
    """How a task came out.

    Attributes:
        outcome: The outcome; only ``passed`` is good.
        note: What was raised, for people.
        confined: What the kernel kept away besides the limits: ``seccomp``, ``Landlock``; None if the tests
            did not begin.
    """

    outcome: CodeOutcome
    note: str = ""
    confined: tuple[str, ...] | None = None

    @property
    def passed(self) -> bool:
        """True if the tests passed."""
        return self.outcome is CodeOutcome.PASSED


def judge_all(
    tasks: Sequence[CodeTask], completions: Sequence[str], limits: Limits | None = None
) -> list[Verdict]:
    """Run the tests of each task against what was written for it, a task per core at once.

    Args:
        tasks: The tasks.
        completions: The bodies that were generated, one per task.
        limits: What each may use.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        verdicts = list(pool.map(lambda task, written: judge(task, written, limits), tasks, completions))
    counted = Counter(verdict.outcome for verdict in verdicts)
    log.info(
        "%s functions tried in the sandbox: %s.",
        f"{len(verdicts):,}",
        ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in counted.most_common())
        or "none",
    )
    kept_away = [_KERNEL - {*verdict.confined} for verdict in verdicts if verdict.confined is not None]
    if missing := frozenset().union(*kept_away):
        log.warning(
            "This kernel has no %s: what was generated was kept away from files, network or other processes "
            "by Python alone; see docs/gates.md, The sandbox.",
            " and no ".join(sorted(missing)),
        )
    if counted[CodeOutcome.BAD_TASK]:
        note = next(verdict.note for verdict in verdicts if verdict.outcome is CodeOutcome.BAD_TASK)
        log.warning("%s tasks cannot be judged, the first: %s", f"{counted[CodeOutcome.BAD_TASK]:,}", note)
    return verdicts


def judge(task: CodeTask, completion: str, limits: Limits | None = None) -> Verdict:
    """Run a task's tests against the function that was generated for it.

    Raises:
        PodiumError: The sandbox itself does not start.
    """
    allowed = limits or Limits()
    each = {"cpu_seconds": allowed.cpu_seconds, "memory_bytes": allowed.memory_bytes}
    player = {"code": task.prompt + completion, "entry_point": task.entry_point, **each}
    judging = {
        "reference": task.prompt + task.reference,
        "test": task.test,
        "entry_point": task.entry_point,
        "longest_answer": allowed.longest_answer,
        **each,
    }
    with (
        TemporaryDirectory(prefix="sandbox-") as folder,
        _pipes(3) as ((calls, ask), (hear, answer), (out, tell)),
        _process("player", player, (calls, answer), folder),
    ):
        for end in (calls, answer):
            end.close()
        until = monotonic() + allowed.wall_seconds
        told = next(_lines(hear.fileno(), allowed.wall_seconds), None)
        if problem := _not_ready(told, until):
            return problem
        with _process("judge", judging, (ask, hear, tell), folder):
            for end in (ask, hear, tell):
                end.close()
            said = next(_lines(out.fileno(), until - monotonic()), None)
            return _verdict(said) if said is not None else _silent(until)


def _not_ready(told: bytes | None, until: float) -> Verdict | None:
    """Say why the generated code has no function to call, or None."""
    if told is None:
        return _silent(until)
    try:
        said = dict(json.loads(told))
    except (ValueError, TypeError, RecursionError):
        return Verdict(CodeOutcome.ENDED, "it wrote something else than an answer")
    if "raised" not in said:
        return None
    return Verdict(CodeOutcome.DOES_NOT_RUN, f"{said['raised']}: {said.get('words', '')}"[:500])


def _silent(until: float) -> Verdict:
    if monotonic() >= until:
        return Verdict(CodeOutcome.TOO_SLOW, "not done in time")
    return Verdict(CodeOutcome.ENDED, "its process ended before the tests did")


def check_references(tasks: Sequence[CodeTask], limits: Limits | None = None) -> list[Verdict]:
    """Run the tests of each task against its own solution, so that bad tasks are known.

    Faster than ``judge``: as long as none of them ends it, one process does all.

    Raises:
        PodiumError: The sandbox itself does not start.
    """
    allowed = limits or Limits()
    verdicts: list[Verdict] = []
    while len(verdicts) < len(tasks):
        verdicts += _references(tasks[len(verdicts) :], allowed)
    return verdicts


def _references(tasks: Sequence[CodeTask], limits: Limits) -> list[Verdict]:
    """Return the verdicts up to the task that ended the process, at least one."""
    job = {
        "tasks": [
            {"reference": task.prompt + task.reference, "test": task.test, "entry_point": task.entry_point}
            for task in tasks
        ],
        "cpu_seconds": limits.cpu_seconds * len(tasks),
        "memory_bytes": limits.memory_bytes,
        "task_seconds": limits.cpu_seconds,
    }
    with (
        TemporaryDirectory(prefix="sandbox-") as folder,
        _pipes(1) as ((out, tell),),
        _process("references", job, (tell,), folder),
    ):
        tell.close()
        said = list(zip(tasks, _lines(out.fileno(), limits.wall_seconds), strict=False))
    verdicts = [_verdict(line) for _, line in said]
    if len(verdicts) < len(tasks):
        verdicts.append(Verdict(CodeOutcome.ENDED, "the process ended before the tests did"))
    return verdicts


@contextmanager
def _pipes(number: int) -> Iterator[list[tuple[Any, Any]]]:
    """Give pipes, each as its end to read from and its end to write to."""
    with ExitStack() as held:
        ends = [os.pipe() for _ in range(number)]
        yield [
            (
                held.enter_context(os.fdopen(read, "rb", buffering=0)),
                held.enter_context(os.fdopen(write, "wb", buffering=0)),
            )
            for read, write in ends
        ]


@contextmanager
def _process(role: str, job: Mapping[str, Any], pipes: Sequence[Any], folder: str) -> Iterator[None]:
    """Run the program inside with a job; it and all that it started are dead afterwards."""
    descriptors = [pipe.fileno() for pipe in pipes]
    with TemporaryFile() as stdin:
        stdin.write(json.dumps(job).encode())
        stdin.seek(0)
        try:
            # As -I, but for this environment: hashes are to be the same each time.
            process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-S", "-B", str(_PROGRAM), role, *map(str, descriptors)],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=descriptors,
                start_new_session=True,
                cwd=folder,
                env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            )
        except OSError as error:
            raise PodiumError(f"the sandbox does not start: {error}") from error
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _lines(descriptor: int, seconds: float) -> Iterator[bytes]:
    """Yield lines until there is none for so many seconds, one is too long, or nobody writes any more."""
    held, until = b"", monotonic() + seconds
    while len(held) <= _LONGEST_VERDICT:
        line, newline, rest = held.partition(b"\n")
        if newline:
            yield line
            held, until = rest, monotonic() + seconds
            continue
        ready, _, _ = select([descriptor], [], [], max(0.0, until - monotonic()))
        more = os.read(descriptor, _LONGEST_VERDICT) if ready else b""
        if not more:
            return
        held += more


def _verdict(line: bytes) -> Verdict:
    said = json.loads(line)
    confined = said.get("confined")
    return Verdict(
        CodeOutcome(said["outcome"]), str(said["note"]), None if confined is None else tuple(confined)
    )
