"""Everything that Podium raises.

PodiumError                a fault: the task fails at once, for somebody to look
├── SpecError              a model file is wrong; names file, key, value and what is allowed
├── DataError              the data cannot be used as the model file says
├── TrainerError           the user's training code broke its protocol
├── NotFound               no such model, version or alias
├── ChampionChanged        the champion is not the one that the decision was made against
├── Frozen                 the champion was moved outside Podium, and nobody has settled it yet
├── NotApproved            the ledger holds no decision of this run
├── DecisionVoid           the decision does not hold any more: too old, or its subject changed
├── BytesChanged           the files in the store are not those that were registered
├── CannotRollBack         the target never was champion, or fails its proof
├── ProfileOnly            the version was made on less, to try the wiring: neither promoted nor served
├── Refused                an outcome: a gate or a person said no; the run ends cleanly
│   └── NothingToDo        the asked state is already there, or was and has been replaced since
└── Outage                 a part could not be asked; retried, never read as an answer
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


class PodiumError(Exception):
    """Base of everything that Podium raises."""


class SpecError(PodiumError):
    """A model file is wrong.

    Attributes:
        path: The model file.
        problems: One sentence per wrong key: the key, its value and what is allowed.
    """

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{path}: {problem}" for problem in self.problems))


class DataError(PodiumError):
    """The data cannot be used as the model file says: a missing file, column or window."""


class TrainerError(PodiumError):
    """A trainer broke its protocol: cannot be imported, or returned something else than it must."""


class NotFound(PodiumError):
    """There is no such model, version or alias."""


class Refused(PodiumError):
    """A gate or a person said no. An outcome: recorded, never retried; the run ends cleanly."""


class NothingToDo(Refused):
    """The asked state is already there, or was and has been replaced since."""


class ChampionChanged(PodiumError):
    """The champion is not the one that the decision was made against.

    Attributes:
        expected: The champion's version at the time of the decision, or None if there was none.
        found: The champion's version now, or None.
    """

    def __init__(self, model: str, expected: int | None, found: int | None, moved_by: str) -> None:
        self.model = model
        self.expected = expected
        self.found = found
        super().__init__(
            f"{model}: the decision was made against champion {version_name(expected)}, but the champion is "
            f"now {version_name(found)} ({moved_by}). Nothing was moved. Run the lifecycle again, so that "
            f"gates and approver compare with {version_name(found)}."
        )


class Frozen(PodiumError):
    """The champion was moved outside Podium; until somebody settles that, nothing moves it."""

    def __init__(self, model: str, recorded: int | None, live: int | None) -> None:
        super().__init__(
            f"{model}: the champion is {version_name(live)}, but the ledger says {version_name(recorded)}: "
            "it was moved outside Podium. Nothing was moved, and nothing will be until that is settled: an "
            "approver runs settle_champion to accept or revert it, or reconcile reverts it if the model file "
            "says champion_moved_outside: revert."
        )


class NotApproved(PodiumError):
    """The ledger holds no decision of this run."""


class DecisionVoid(PodiumError):
    """The decision does not hold any more: too old, or what it was about has changed since."""


class BytesChanged(PodiumError):
    """The files of a version in the store are not those that were registered."""


class CannotRollBack(PodiumError):
    """The rollback target never was champion, or fails its proof."""


class ProfileOnly(PodiumError):
    """The version was made on less, to try the wiring: it is neither promoted nor served."""


class Outage(PodiumError):
    """A part (registry, ledger, store) could not be asked. Retried, never read as an answer."""


def version_name(version: int | None) -> str:
    """Return ``v3`` for 3 and ``none`` for no version, as messages and tables show it."""
    return "none" if version is None else f"v{version}"


def in_utc(moment: datetime) -> str:
    """Return ``2025-06-01 12:00 UTC``, as messages show a moment."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@contextmanager
def told_without_traceback() -> Iterator[None]:
    """End a program with exit code 1 and the message, on stderr, where Podium raises."""
    try:
        yield
    except PodiumError as error:
        from rich.console import Console

        message = str(error)
        Console(stderr=True).print(message, style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from error
