"""Every error that Podium raises, and the code by which docs and people find it.

PodiumError                a fault: the task fails at once, for somebody to look
├── SpecError              a model file is wrong; names file, line, key, value and what is allowed
├── DataError              the data cannot be used as the model file says
│   └── ColumnGone         it has no such column; to monitoring a verdict on a window
├── TrainerError           the user's training code broke its protocol
├── MetricUndefined        a metric has no value on these rows: whoever judges by it fails
├── NoSlices               the rows cannot be cut as a gate says: the gate fails
├── NotFound               no such model, version or alias
├── ChampionChanged        the champion is not the one that the decision was made against
├── Frozen                 the champion was moved outside Podium, and nobody has settled it yet
├── FrozenByWatch          a watch window ended badly, and no person has settled it yet
├── OtherLedger            the ledger lacks an event that MLflow was told of: cut off, or another ledger
├── EditedByHand           somebody renamed, deleted or made again in MLflow what the ledger has
├── NotApproved            the ledger holds no decision of this run
├── ApprovalNotGiven       the ledger holds an approval to which no answer on record belongs
├── RequesterUnknown       a backfill may have started the run again: who asked for it, and for what?
├── DecisionVoid           the decision does not hold any more: too old, or its subject changed
├── BytesChanged           the files in the store are not those that were registered
├── CannotRollBack         the target never was champion, or fails its proof
├── OutOfUse               the version is in quarantine, or retention deleted it
├── Damaged                files that had to stay were changed while others were deleted
├── ProfileOnly            the version was made on less, to try the wiring: neither promoted nor served
├── CannotAdopt            what a registry had before Podium lacks something; says what, and how to give it
├── Refused                an outcome: a gate or a person said no; the run ends cleanly
│   ├── Retired            somebody ended the model: nothing runs for it any more
│   ├── RampEnded          the approved version went back to no client before it was champion
│   └── NothingToDo        the asked state is already there, or was and has been replaced since
├── RequestRefused         a request to the model server cannot be answered as it is
├── TooBusy                the model server has more rows waiting than it keeps
├── NotLoaded              the model server serves no version (yet)
├── CannotBeWritten        a model answered with what JSON cannot hold
├── ForeignForm            a form of the operators' page that its reader did not send, or sent too late
├── StackError             the embedded stack cannot do what was asked
│   ├── StackBusyError     another process starts, stops or owns it
│   └── PartFailedError    one of its services did not come up
└── Outage                 a service could not be asked; retried, never read as an answer
    ├── SourceChanged      somebody wrote to the rows while they were read
    └── DiskFull           a folder of this machine has no room; names it

Only ``model_file.types.WrongKey`` stands outside of it: pydantic asks for a ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from podium.names import version_name
from podium.text import one_line


class PodiumError(Exception):
    """Base of every error that Podium raises.

    Attributes:
        code: The stable name of this kind of error, printed with its message.
    """

    code: ClassVar[str] = "PODIUM-FAULT"

    def with_code(self) -> str:
        """Return the message with the code behind it."""
        return f"{self} [{self.code}]"


class SpecError(PodiumError):
    """A model file is wrong.

    Attributes:
        path: The model file.
        problems: One line per wrong key: its line, the key, its value and what is allowed. Airflow keeps
            them in its database, so names of files and keys are escaped as values are.
    """

    code = "PODIUM-MODEL-FILE"

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = tuple(map(one_line, problems))
        name = one_line(str(path))
        super().__init__("\n".join(f"{name}: {problem}" for problem in self.problems))


class DataError(PodiumError):
    """The data cannot be used as the model file says: a missing file, column or window."""

    code = "PODIUM-DATA"


class ColumnGone(DataError):
    """The data has no such column; to monitoring that is a verdict on a window."""

    code = "PODIUM-COLUMN-GONE"


class TrainerError(PodiumError):
    """A trainer broke its protocol: cannot be imported, or returned something else than it must."""

    code = "PODIUM-TRAINER"


class NotFound(PodiumError):
    """There is no such model, version or alias."""

    code = "PODIUM-NOT-FOUND"


class Refused(PodiumError):
    """A gate or a person said no. An outcome: recorded, never retried; the run ends cleanly."""

    code = "PODIUM-REFUSED"


class NothingToDo(Refused):
    """The asked state is already there, or was and has been replaced since."""

    code = "PODIUM-NOTHING-TO-DO"


class Retired(Refused):
    """Somebody ended the model: no run starts, and no version serves anew."""

    code = "PODIUM-RETIRED"


class ChampionChanged(PodiumError):
    """The champion is not the one that the decision was made against.

    Attributes:
        expected: The champion's version at the time of the decision, or None if there was none.
        found: The champion's version now, or None.
    """

    code = "PODIUM-CHAMPION-CHANGED"

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

    code = "PODIUM-FROZEN"

    def __init__(self, model: str, recorded: int | None, live: int | None) -> None:
        super().__init__(
            f"{model}: the champion is {version_name(live)}, but the ledger says {version_name(recorded)}: "
            "it was moved outside Podium. Nothing was moved, and nothing will be until somebody settles it: "
            "an approver runs settle_champion to accept or revert it, or reconcile reverts it if the model "
            "file has champion_moved_outside: revert."
        )


class FrozenByWatch(PodiumError):
    """A watch window went back by itself, or saw both versions fail: a person must look first."""

    code = "PODIUM-FROZEN-BY-WATCH"

    def __init__(self, model: str, verdict: str, when: str) -> None:
        super().__init__(
            f"{model}: promotions are stopped, because its watch window ended on {when}, {verdict}. Nothing "
            "was moved. Find the cause; then an approver runs settle_champion with accept to keep the "
            "present champion, or rolls it back. Then run the lifecycle again."
        )


class OtherLedger(PodiumError):
    """The ledger lacks an event that MLflow was told of; nothing moves or decides until that is mended."""

    code = "PODIUM-OTHER-LEDGER"


class EditedByHand(PodiumError):
    """Somebody renamed, deleted or made again in MLflow what the ledger has; `podium mend` puts it back."""

    code = "PODIUM-EDITED-BY-HAND"


class NotApproved(PodiumError):
    """The ledger holds no decision of this run."""

    code = "PODIUM-NOT-APPROVED"


class ApprovalNotGiven(PodiumError):
    """The ledger holds an approval to which no answer on record belongs: nobody gave it to Podium."""

    code = "PODIUM-APPROVAL-NOT-GIVEN"


class RequesterUnknown(PodiumError):
    """A backfill may have started the run again: nobody knows who asked for it with this form."""

    code = "PODIUM-REQUESTER-UNKNOWN"

    def __init__(self, run: str) -> None:
        super().__init__(
            f"run {run} was started again by a backfill, or after one: Airflow keeps the first requester's "
            "name and takes the backfill's form, so nobody knows who asked for this. Trigger it yourself"
        )


class DecisionVoid(PodiumError):
    """The decision does not hold any more: too old, or what it was about has changed since."""

    code = "PODIUM-DECISION-VOID"


class RampEnded(Refused):
    """The ramp of an approved version ended before it was champion: it answers no client any more."""

    code = "PODIUM-RAMP-ENDED"


class BytesChanged(PodiumError):
    """The files of a version in the store are not those that were registered."""

    code = "PODIUM-BYTES-CHANGED"


class CannotRollBack(PodiumError):
    """The rollback target never was champion, or fails its proof."""

    code = "PODIUM-CANNOT-ROLL-BACK"


class CannotAdopt(PodiumError):
    """What was made outside Podium lacks something that it needs; says what, and how to give it."""

    code = "PODIUM-CANNOT-ADOPT"


class OutOfUse(PodiumError):
    """The version is in quarantine, or retention deleted it: it is neither promoted nor served nor scored."""

    code = "PODIUM-OUT-OF-USE"


class Damaged(PodiumError):
    """After a deletion, files of a version that had to stay are not those that were registered."""

    code = "PODIUM-DAMAGED"


class ProfileOnly(PodiumError):
    """The version was made on less, to try the wiring: it is neither promoted nor served."""

    code = "PODIUM-PROFILE-ONLY"


class Outage(PodiumError):
    """A part (registry, ledger, store) could not be asked. Retried, never read as an answer."""

    code = "PODIUM-OUTAGE"


class DiskFull(Outage):
    """A disk of this machine is full. Retried as an outage: somebody may make room meanwhile.

    Attributes:
        folder: What has no room.
    """

    code = "PODIUM-DISK-FULL"

    def __init__(self, doing: str, folder: Path, why: str) -> None:
        self.folder = folder
        super().__init__(
            f"{doing}: the disk is full at {folder}: {why}. Free some space there; the task then continues"
        )


class SourceChanged(Outage):
    """Somebody wrote to a source while its rows were read. Retried: the writer may be done then."""

    code = "PODIUM-SOURCE-CHANGED"


class MetricUndefined(PodiumError):
    """The metric has no value on these rows; says why. Whoever judges by it fails."""

    code = "PODIUM-METRIC-UNDEFINED"


class NoSlices(PodiumError):
    """The rows cannot be cut so; says why. The gate fails."""

    code = "PODIUM-NO-SLICES"


class RequestRefused(PodiumError):
    """A request cannot be answered as it is.

    Attributes:
        status: The HTTP status that says so, 4xx.
    """

    code = "PODIUM-REQUEST-REFUSED"

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class TooBusy(PodiumError):
    """More rows wait than are kept: come back later."""

    code = "PODIUM-TOO-BUSY"


class NotLoaded(PodiumError):
    """No version serves (yet)."""

    code = "PODIUM-NOT-LOADED"


class CannotBeWritten(PodiumError):
    """A model answered with what JSON cannot hold."""

    code = "PODIUM-CANNOT-BE-WRITTEN"


class ForeignForm(PodiumError):
    """A form of the operators' page that its reader did not send from there, or sent too late."""

    code = "PODIUM-FOREIGN-FORM"


class StackError(PodiumError):
    """The embedded stack cannot do what was asked; the message says what to do next."""

    code = "PODIUM-STACK"


class StackBusyError(StackError):
    """Another process starts, stops or owns the stack of this state directory."""

    code = "PODIUM-STACK-BUSY"


class PartFailedError(StackError):
    """One service of the embedded stack did not come up.

    Attributes:
        part: Its name, as ``podium stack status`` shows it.
        log: Its log file.
        tail: The last lines of that log.
    """

    code = "PODIUM-SERVICE-FAILED"

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
