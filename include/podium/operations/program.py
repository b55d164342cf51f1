"""What a program of the stack does at its end: a message instead of a traceback, and signals as exits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from podium.errors import DiskFull, Outage, PodiumError


@contextmanager
def exit_with_message(program: str = "") -> Iterator[None]:
    """End a program with exit code 1 and the message and its code, on stderr, where Podium raises.

    Args:
        program: Said before the message.
    """
    try:
        yield
    except PodiumError as error:
        from podium.reporting.terminal import Terminal

        message = f"{program}: {error.with_code()}" if program else error.with_code()
        if isinstance(error, Outage) and not isinstance(error, DiskFull):
            # Here, where it is rare: pydantic-settings takes longer to import than a health check does.
            from podium.settings import PROJECT_ROOT

            if (PROJECT_ROOT / ".podium").is_dir():
                message += " Is the stack up? `make status` shows it, `make up` starts it."
        terminal = Terminal(stderr=True)
        terminal.print(message, style="red", highlight=False, soft_wrap=True)
        if program:
            terminal.print(f"`podium explain {error.code}` says what to do.", highlight=False, soft_wrap=True)
        raise SystemExit(1) from error


@contextmanager
def signals_as_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the program like Ctrl-C does: everything is stopped on the way."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with handled_by(leave, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def handled_by(
    handler: Callable[[int, FrameType | None], None] | signal.Handlers, *signals: signal.Signals
) -> Iterator[None]:
    """Let a handler take signals for a while; does nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
