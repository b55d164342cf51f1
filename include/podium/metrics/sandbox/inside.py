"""The program that runs inside the sandbox (``metrics.sandbox.judge`` starts it). Standard library only.

``player`` runs the generated code and answers calls of one function. ``judge`` runs the task's tests against
these answers. ``references`` runs tests against the tasks' own solutions. The job is read from standard
input, as JSON.
"""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, NoReturn

# Numbers of the system calls that nothing inside needs: processes, signals to others, network, memory of
# others, namespaces, limits, memory that no limit counts. Linux, by machine: audit architecture, numbers.
_REFUSED_CALLS = {
    "x86_64": (
        0xC000003E,
        "29 41 42 53 56 57 58 59 62 64 68 101 109 112 129 160 161 165 200 234 240 248 249 250 272 297 298 "
        "302 308 310 311 319 321 322 323 424 425 434 435 438",
    ),
    "aarch64": (
        0xC00000B7,
        "40 51 97 117 129 130 131 138 154 157 164 180 186 190 194 198 199 203 217 218 219 220 221 240 241 "
        "261 268 270 271 279 280 281 282 424 425 434 435 438",
    ),
}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
# landlock(7): its system calls, the same on all machines; how many rights each version of its ABI knows.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_READ = 1 << 2 | 1 << 3  # read a file, list a folder

_TAGS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_DEEPEST = 100


class NotPlain(TypeError):
    """A value that is no plain data, so that it cannot go from one process to the other."""


class Late(BaseException):
    """The time of a task is over. No test can catch it as an exception."""


class Gone(BaseException):
    """The process that runs the generated code has ended. No test can catch it as an exception."""


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON: numbers, text, bytes, None, and lists, tuples, sets and dicts of them.

    Only these very types: a class of the generated code's own could say that it equals everything.

    Raises:
        NotPlain: It is something else.
    """
    if depth > _DEEPEST:
        raise NotPlain("a value that is nested too deeply")
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    if kind is dict:
        return {"dict": [[plain(key, depth + 1), plain(item, depth + 1)] for key, item in value.items()]}
    for tag, collection in _TAGS.items():
        if kind is collection:
            return {tag: [plain(item, depth + 1) for item in value]}
    raise NotPlain(f"a value of type {kind.__name__}, which is not plain data")


def value_of(encoded: Any) -> Any:
    """Return what ``plain`` encoded."""
    if not isinstance(encoded, dict):
        return encoded
    ((tag, content),) = encoded.items()
    if tag == "bytes":
        return bytes.fromhex(content)
    if tag == "complex":
        return complex(*content)
    if tag == "dict":
        return {value_of(key): value_of(item) for key, item in content}
    return _TAGS[tag](value_of(item) for item in content)


def confine(cpu_seconds: int, memory_bytes: int) -> list[str]:
    """Take from this process what it does not need, for good; returns what the system could do besides."""
    for limit, most in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
    ):
        # macOS refuses some of them.
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    done = []
    if sys.platform == "linux" and libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        done += ["Landlock"] if _landlock(libc) else []
        done += ["seccomp"] if _seccomp(libc) else []
    sys.addaudithook(_refuse)
    return done


def _landlock(libc: ctypes.CDLL) -> bool:
    """Leave of the file system only Python's own library to read."""
    version = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = (1 << _LANDLOCK_RIGHTS.get(version, 16)) - 1
    # Of later versions also: binding and connecting TCP (4), signals and abstract sockets of others (6).
    fields = [rights, *([3] if version >= 4 else []), *([3] if version >= 6 else [])]
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    rules = libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return False
    library = os.path.dirname(os.__file__)  # noqa: PTH120 - pathlib takes long to import
    for folder in {
        library,
        *sys.path,
        "/usr/lib",
        "/lib",
        "/lib64",
        "/usr/share/zoneinfo",
    }:
        with suppress(OSError):
            opened = os.open(folder, getattr(os, "O_PATH", 0) | os.O_DIRECTORY)
            libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", _READ, opened), 0)
            os.close(opened)
    restricted = bool(libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0)
    os.close(rules)
    return restricted


def _seccomp(libc: ctypes.CDLL) -> bool:
    """Refuse the system calls of ``_REFUSED_CALLS``; a program in other machine code is killed."""
    machine = os.uname().machine
    if machine not in _REFUSED_CALLS:
        return False
    architecture, numbers = _REFUSED_CALLS[machine]
    refused = [int(number) for number in numbers.split()]

    def step(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    program = [
        step(load, 0, 0, 4),
        step(equal, 1, 0, architecture),
        step(answer, 0, 0, _KILL),
        step(load, 0, 0, 0),
        # Calls of the x32 ABI have numbers of their own.
        step(at_least, len(refused) + 1, 0, 0x40000000),
        *(step(equal, len(refused) - place, 0, number) for place, number in enumerate(refused)),
        step(answer, 0, 0, _ALLOW),
        step(answer, 0, 0, _REFUSE),
    ]
    filled = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("HP", len(program), ctypes.addressof(filled))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


# Where the system itself cannot, Python still refuses what says its name; native code would not ask.
_REFUSED_EVENTS = (
    "os.chdir os.chflags os.chmod os.chown os.exec os.fork os.forkpty os.kill os.killpg os.link os.mkdir "
    "os.posix_spawn os.putenv os.remove os.rename os.rmdir os.spawn os.symlink os.system os.truncate "
    "os.utime shutil socket subprocess ctypes pty signal.pthread_kill resource. sqlite3 urllib ftplib smtplib"
)
_PREFIXES = tuple(_REFUSED_EVENTS.split())


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        flags = arguments[2]
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            raise PermissionError("the sandbox writes no files")
    elif event.startswith(_PREFIXES):
        raise PermissionError(f"the sandbox refuses {event}")


def _play(job: dict[str, Any], calls: BinaryIO, answers: BinaryIO) -> None:
    """Run the generated code, then answer calls until nobody asks any more."""
    confine(job["cpu_seconds"], job["memory_bytes"])
    try:
        namespace: dict[str, Any] = {"__name__": "generated"}
        exec(compile(job["code"], "<generated>", "exec"), namespace)  # noqa: S102 - what this file is for
        function = namespace[job["entry_point"]]
        _tell(answers, {"ready": True})
    except Exception as error:  # noqa: BLE001 - whatever generated code raises
        _tell(answers, _raised(error))
        return
    for line in calls:
        _tell(answers, _called(function, line))


def _called(function: Callable[..., Any], line: bytes) -> dict[str, Any]:
    try:
        arguments, named = json.loads(line)
        value = function(*map(value_of, arguments), **{name: value_of(item) for name, item in named.items()})
        return {"value": plain(value)}
    except Exception as error:  # noqa: BLE001 - whatever generated code raises
        return _raised(error)


def _raised(error: Exception) -> dict[str, Any]:
    try:
        words = str(error)[:500]
    except Exception:  # noqa: BLE001 - an exception of the generated code's own
        words = ""
    return {"raised": type(error).__name__, "words": words}


def _tell(stream: BinaryIO, what: dict[str, Any]) -> None:
    stream.write(json.dumps(what).encode() + b"\n")
    stream.flush()


def _judge(job: dict[str, Any], calls: BinaryIO, answers: BinaryIO, verdict: BinaryIO) -> None:
    """Run a task's tests; each call of the function is answered by the other process."""
    confined = confine(job["cpu_seconds"], job["memory_bytes"])

    def hear() -> dict[str, Any]:
        line = answers.readline(job["longest_answer"])
        if not line.endswith(b"\n"):
            raise Gone
        heard: dict[str, Any] = json.loads(line)
        return heard

    def candidate(*arguments: Any, **named: Any) -> Any:
        asked = [[plain(item) for item in arguments], {name: plain(item) for name, item in named.items()}]
        try:
            calls.write(json.dumps(asked).encode() + b"\n")
            calls.flush()
        except BrokenPipeError:
            raise Gone from None
        heard = hear()
        if "raised" in heard:
            raise _as_builtin(heard)
        return value_of(heard["value"])

    try:
        outcome, note = _tested(job, candidate)
    except Gone:
        outcome, note = "ended", "its process ended before the tests did"
    _tell(verdict, {"outcome": outcome, "note": note, "confined": confined})


def _as_builtin(heard: dict[str, Any]) -> Exception:
    """Return what the function raised, if Python knows it: tests may expect it."""
    kind = getattr(builtins, str(heard["raised"]), None)
    words = str(heard["words"])
    if isinstance(kind, type) and issubclass(kind, Exception):
        with suppress(TypeError):
            return kind(words)
    return RuntimeError(f"{heard['raised']}: {words}")


def _tested(job: dict[str, Any], candidate: Callable[..., Any] | None) -> tuple[str, str]:
    """Run a task's tests against a function, or against the task's own solution."""
    namespace: dict[str, Any] = {"__name__": "tests"}
    try:
        # Tests may use what the prompt defines besides the function.
        exec(compile(job["reference"], "<reference>", "exec"), namespace)  # noqa: S102
        exec(compile(job["test"], "<test>", "exec"), namespace)  # noqa: S102
        check, solution = namespace["check"], namespace[job["entry_point"]]
    except Exception as error:  # noqa: BLE001 - whatever the task's code raises
        return "bad_task", f"{type(error).__name__}: {error}"[:500]
    try:
        check(solution if candidate is None else candidate)
    except Exception as error:  # noqa: BLE001
        return "failed", f"{type(error).__name__}: {error}"[:500]
    return "passed", ""


def _references(job: dict[str, Any], verdict: BinaryIO) -> None:
    """Run the tests of many tasks against their own solutions, a line of outcome for each."""
    confine(job["cpu_seconds"], job["memory_bytes"])
    for task in job["tasks"]:
        try:
            with _alarm(job["task_seconds"]):
                outcome, note = _tested(task, None)
        except Late:
            outcome, note = "too_slow", ""
        _tell(verdict, {"outcome": outcome, "note": note})


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> NoReturn:
        raise Late

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(role: str, *descriptors: str) -> None:
    """Play a role; the descriptors are those of its pipes."""
    job = json.load(sys.stdin)
    modes = {"player": ("rb", "wb"), "judge": ("wb", "rb", "wb"), "references": ("wb",)}[role]
    pipes: list[Any] = [os.fdopen(int(number), mode) for number, mode in zip(descriptors, modes, strict=True)]
    roles: dict[str, Callable[..., None]] = {"player": _play, "judge": _judge, "references": _references}
    roles[role](job, *pipes)


if __name__ == "__main__":
    main(*sys.argv[1:])
