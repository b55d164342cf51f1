"""What can go wrong with the embedded stack.

StackError
├── StackBusyError     somebody else is using this state directory right now
└── PartFailedError    one part did not come up; carries the end of its log
"""

from pathlib import Path

from podium.errors import PodiumError


class StackError(PodiumError):
    """The stack cannot do what was asked; the message says what to do next."""


class StackBusyError(StackError):
    """Another process starts, stops or owns the stack of this state directory."""


class PartFailedError(StackError):
    """One part did not come up.

    Attributes:
        part: name of the part, as `status` shows it.
        log: its log file.
        tail: the last lines of that log.
    """

    def __init__(self, part: str, reason: str, log: Path) -> None:
        self.part = part
        self.log = log
        self.tail = _tail(log)
        super().__init__(f"{part} did not come up: {reason}. Its log: {log}\n{self.tail}")


def _tail(log: Path, lines: int = 15, max_bytes: int = 65536) -> str:
    if not log.is_file():
        return "(no log was written)"
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - max_bytes))
        text = stream.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
