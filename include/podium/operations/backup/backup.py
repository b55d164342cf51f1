"""Databases and objects of a stack into a folder, and back.

In which order things are copied, and why: docs/adr/0013-order-of-a-backup.md.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.version import Version
from rich.console import Console
from rich.filesize import decimal

from podium.disk import full_disk_named
from podium.errors import DiskFull, PodiumError
from podium.ledger import store
from podium.operations.backup import databases, objects
from podium.operations.backup.index import Index, new_backup, verified_index, write_index
from podium.operations.backup.objects import Store
from podium.settings import Settings, read_settings

_PROGRAMS = {"airflow": "apache-airflow", "mlflow": "mlflow"}
_MOST_PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class BackupStores:
    """What is copied: a Postgres server and a bucket.

    Attributes:
        postgres_url: The superuser's; holds the password.
    """

    postgres_url: str = field(repr=False)
    store: Store


def create(stores: BackupStores, folder: Path, console: Console) -> Index:
    """Copy the databases, all as of one moment, and then the objects to a new folder; everything may run.

    Args:
        stores: What is copied.
        folder: Where to; has its name only when everything is in it.
        console: Shows the progress.

    Returns:
        What was copied; ``problems`` says what was not whole.

    Raises:
        PodiumError: The folder is there already.
        DiskFull: There is too little room; nothing is left in the folder.
        Outage: A part did not answer; nothing is left in the folder.
    """
    with full_disk_named("the backup", folder.parent), new_backup(folder) as partial:
        _assert_room(stores, partial)
        for name in ("databases", "objects"):
            (partial / name).mkdir(mode=0o700)
        with databases.snapshots(stores.postgres_url) as taken:
            made_at = datetime.now(UTC)
            facts = databases.read_facts(taken)
            dumps = []
            for snapshot in taken.values():
                with console.status(f"database {snapshot.database}"):
                    dumps.append(databases.dump(stores.postgres_url, snapshot, partial))
                console.print(
                    f"  database {snapshot.database:<8} {decimal(dumps[-1].size):>9}", highlight=False
                )
        # After the databases: what they name was stored before they named it.
        listed = objects.list_objects(stores.store)
        copied, gone = objects.copy_out(stores.store, listed, partial, console)
        problems = list(facts.problems)
        problems += [f"object {key} was deleted while the backup was made" for key in gone]
        problems += databases.missing_files(facts, copied, stores.store.bucket)
        index = Index(
            made_at=made_at,
            versions={
                **_installed(),
                "ledger": facts.ledger_schema,
                "postgres": facts.postgres,
                "podium": _podium_version(),
            },
            ledger_events=facts.chain.events,
            ledger_head=facts.chain.head,
            champions=dict(facts.champions),
            dumps=tuple(dumps),
            objects=tuple(copied),
            problems=tuple(problems),
        )
        write_index(partial, index)
    return index


def restore(stores: BackupStores, folder: Path, console: Console) -> Index:
    """Copy a backup into an empty stack, in which only Postgres and the store run.

    Everything is verified before anything is touched. Logins that a stack makes itself are left out: the next
    start makes them with the passwords of that stack.

    Args:
        stores: Where to.
        folder: The backup.
        console: Shows the progress.

    Raises:
        PodiumError: The backup is incomplete or damaged or of newer programs; the target is in use.
        Outage: A part did not answer; empty the target and try again.
    """
    index = verified_index(folder, console)
    _refuse_newer(index)
    assert_empty(stores)
    # Backwards: what is pointed to comes before whoever points, and the ledger, which decides, last.
    objects.copy_in(stores.store, index.objects, folder, console)
    for item in index.dumps:
        with console.status(f"database {item.database}"):
            databases.restore_database(stores.postgres_url, item, folder)
        console.print(f"  database {item.database:<8} {decimal(item.size):>9}", highlight=False)
    chain = databases.walked_ledger(stores.postgres_url)
    if (chain.events, chain.head) != (index.ledger_events, index.ledger_head):
        raise PodiumError(
            f"the restored ledger ends with event {chain.events} ({chain.head[:12]}), but the backup's with "
            f"{index.ledger_events} ({index.ledger_head[:12]}): {chain.difference or 'it is another ledger'}"
        )
    return index


def assert_empty(stores: BackupStores) -> None:
    """Make sure that a restore overwrites nothing.

    Raises:
        PodiumError: Something is there, or somebody works there; says what to do.
        Outage: A part did not answer.
    """
    databases.assert_empty(stores.postgres_url)
    if there := objects.list_objects(stores.store):
        raise PodiumError(
            f"bucket '{stores.store.bucket}' is not empty ({len(there):,} objects, the first is "
            f"{there[0].key}), {databases.OVERWRITES_NOTHING}"
        )


def describe_backup(index: Index) -> str:
    """Return what a backup holds, and what was not whole."""
    champions = ", ".join(f"{model} v{number}" for model, number in sorted(index.champions.items())) or "none"
    lines = [
        f"As of {index.made_at:%Y-%m-%d %H:%M:%S} UTC: {len(index.dumps)} databases, "
        f"{len(index.objects):,} objects, {decimal(index.size())}.",
        f"Champions: {champions}",
        f"Ledger: {index.ledger_events:,} events, head {index.ledger_head}",
        f"sha256 of the backup's index, which names all of its bytes: {index.digest()}",
    ]
    if index.problems:
        lines.append(f"Damaged when it was copied ({len(index.problems)}):")
        lines += [f"  {problem}" for problem in index.problems[:_MOST_PROBLEMS_SHOWN]]
        lines += ["  ..."] if len(index.problems) > _MOST_PROBLEMS_SHOWN else []
    return "\n".join(lines)


def stores_of(settings: Settings) -> BackupStores:
    """Return the Postgres server and the bucket that the settings name.

    Raises:
        PodiumError: A variable is missing; names it.
    """
    url, endpoint, key, secret, bucket = settings.require(
        "PODIUM_POSTGRES_URL",
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "PODIUM_BUCKET",
        why="a backup copies the databases and the bucket that these variables name",
    )
    return BackupStores(url, Store(endpoint, key, secret, bucket))


def _installed() -> dict[str, str]:
    """Return the versions that say which databases can be read here; the ledger's is that of its schema."""
    migrations = Path(store.__file__).parent / "migrations" / "versions"
    newest = max(path.name.partition("_")[0] for path in migrations.glob("[0-9]*.py"))
    return {**{name: version(package) for name, package in _PROGRAMS.items()}, "ledger": newest}


def _podium_version() -> str:
    try:
        return version("podium")
    except PackageNotFoundError:  # on PYTHONPATH, as in the containers
        return read_settings().git_commit or "unknown"


def _refuse_newer(index: Index) -> None:
    for name, installed in _installed().items():
        if Version(index.versions[name]) > Version(installed):
            raise PodiumError(
                f"the backup is of {name} {index.versions[name]}, and {installed} is installed here, which "
                "cannot read newer databases: restore with at least that version"
            )


def _assert_room(stores: BackupStores, folder: Path) -> None:
    stored = sum(item.size for item in objects.list_objects(stores.store))
    needed, free = stored + databases.size_of(stores.postgres_url), shutil.disk_usage(folder).free
    if needed > free:
        why = f"it may need {decimal(needed)}, and {decimal(free)} are free"
        raise DiskFull("the backup", folder.parent, why)
