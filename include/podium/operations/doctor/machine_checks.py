"""This machine: libraries, clocks and space."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sqlalchemy as sa
from packaging.requirements import InvalidRequirement, Requirement

from podium.errors import PodiumError
from podium.operations.doctor.findings import Finding, State
from podium.operations.doctor.http import ask
from podium.operations.doctor.ledger_checks import connected
from podium.settings import Settings

LIBRARIES, CLOCKS, SPACE = "libraries", "clocks", "disk space"
LARGEST_DIFFERENCE_SECONDS = 5
# A model and its training run are copied to the temporary folder to be checked or scored.
LITTLE_SPACE_BYTES, NO_SPACE_BYTES = 5 * 2**30, 2**29
_FEW = 5
_QUESTIONS = 3
_SIZES = sa.text("""
    SELECT datname AS name, pg_database_size(datname) AS bytes FROM pg_database
    WHERE NOT datistemplate AND has_database_privilege(current_user, datname, 'CONNECT') ORDER BY datname
""")


def locked_versions(home: Path) -> dict[str, str] | None:
    """Return the versions that the project's lock names for this machine; None where there is no lock."""
    file = home / "requirements.txt"
    if not file.is_file():
        return None
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            requirement = Requirement(line.partition(" \\")[0])
        except InvalidRequirement:
            continue  # A comment, a hash, an option.
        if requirement.marker is None or requirement.marker.evaluate():
            found[requirement.name] = str(requirement.specifier).removeprefix("==")
    return found


def check_libraries(settings: Settings) -> Iterator[Finding]:
    """Compare what is installed with the lock."""
    locked = locked_versions(settings.home)
    if locked is None:
        yield Finding(LIBRARIES, State.NOT_CHECKED, f"there is no requirements.txt in {settings.home}")
        return
    said = []
    for name, wanted in locked.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found.partition("+")[0] != wanted:
            said.append(f"{name} is {found}, locked {wanted}")
    if said:
        more = f" and {len(said) - _FEW} more" if len(said) > _FEW else ""
        observed = f"{len(said)} of {len(locked)} differ: {', '.join(said[:_FEW])}{more}"
        yield Finding(LIBRARIES, State.WARNING, observed, "install with --require-hashes -r requirements.txt")
    else:
        yield Finding(LIBRARIES, State.OK, f"{len(locked)} as locked in requirements.txt")


def check_clocks(settings: Settings) -> Iterator[Finding]:
    """Compare this machine's clock with those of the parts: approvals expire by them."""
    differences = {}
    for name, read in _clocks(settings).items():
        try:
            differences[name] = _difference(read)
        except PodiumError:
            continue  # Its own check has said so.
    if not differences:
        yield Finding(CLOCKS, State.NOT_CHECKED, "no service reported its time")
        return
    told = ", ".join(f"{name} {seconds:+.1f} s" for name, seconds in differences.items())
    if max(map(abs, differences.values())) > LARGEST_DIFFERENCE_SECONDS:
        yield Finding(
            CLOCKS,
            State.WARNING,
            f"compared with this machine's clock: {told}",
            "synchronise the clock of each machine by NTP",
        )
    else:
        yield Finding(CLOCKS, State.OK, f"compared with this machine's clock: {told}")


def _difference(read: Callable[[], float]) -> float:
    """Return by how many seconds a clock is ahead, as far as the time that its answer took cannot explain it.

    A busy server tells the time of a moment ago, so one that seems to be off is asked again.
    """
    for _ in range(_QUESTIONS):
        before = time.time()
        there = read()
        difference = there - min(max(there, before), time.time())
        if abs(difference) <= LARGEST_DIFFERENCE_SECONDS:
            break
    return difference


def _clocks(settings: Settings) -> dict[str, Callable[[], float]]:
    clocks: dict[str, Callable[[], float]] = {}
    mlflow = settings.mlflow_tracking_uri.rstrip("/")
    if mlflow.startswith("http"):
        clocks["MLflow"] = lambda: _http_time(f"{mlflow}/health")
    if settings.airflow_url is not None:
        airflow = settings.airflow_url.rstrip("/")
        clocks["Airflow"] = lambda: _http_time(f"{airflow}/api/v2/version")
    if settings.ledger_url.get_secret_value():
        url = settings.ledger_url.get_secret_value()
        clocks["Postgres"] = lambda: _postgres_time(url)
    return clocks


def _http_time(url: str) -> float:
    told = ask("GET", url).headers.get("Date")
    try:
        # The header has no fractions: the time was at most a second later.
        return parsedate_to_datetime(told or "").timestamp() + 0.5
    except ValueError as error:
        raise PodiumError(f"{url} reports no time") from error


def _postgres_time(url: str) -> float:
    with _postgres(url) as connection:
        return float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")) or 0)


def _postgres(url: str) -> AbstractContextManager[sa.Connection]:
    try:
        return connected(sa.make_url(url))
    except sa.exc.ArgumentError as error:
        raise PodiumError("PODIUM_LEDGER_URL cannot be used") from error


def check_space(settings: Settings) -> Iterator[Finding]:
    """Tell the free space of the folders that fill up, and the size of the databases."""
    state = settings.home / ".podium"
    for what, folder in (
        ("state", state if state.is_dir() else settings.home),
        ("temporary", tempfile.gettempdir()),
    ):
        yield _space(what, Path(folder))
    if not settings.ledger_url.get_secret_value():
        yield Finding("database sizes", State.NOT_CHECKED, "PODIUM_LEDGER_URL is not set")
        return
    try:
        with _postgres(settings.ledger_url.get_secret_value()) as connection:
            sizes = ", ".join(f"{row.name} {row.bytes / 1e6:,.0f} MB" for row in connection.execute(_SIZES))
        yield Finding("database sizes", State.OK, f"{sizes}, of those that this role sees")
    except PodiumError as error:
        yield Finding("database sizes", State.NOT_CHECKED, str(error))


def _space(what: str, folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(SPACE, State.WARNING, f"{what} folder {folder}: {error.strerror}", "make it")
    observed = f"{free / 1e9:,.1f} GB free in the {what} folder {folder}"
    if free >= LITTLE_SPACE_BYTES:
        return Finding(SPACE, State.OK, observed)
    state = State.WARNING if free >= NO_SPACE_BYTES else State.PROBLEM
    return Finding(
        SPACE, state, observed, "free some space, or set TMPDIR: Podium checks the files of models there"
    )
