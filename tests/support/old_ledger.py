"""A ledger as an earlier Podium left it."""

from __future__ import annotations

import json
from pathlib import Path

from alembic import command
from alembic.config import Config

from podium.ledger import store
from podium.ledger.events import Event
from support.database import execute


def migrate_to(owner_url: str, revision: str) -> None:
    """Bring a database of the ledger's owner to a revision; roles get nothing."""
    config = Config()
    config.set_main_option("script_location", str(Path(store.__file__).parent / "migrations"))
    config.attributes.update(url=owner_url, tell=store.log.info)
    command.upgrade(config, revision)


def insert_as_before(owner_url: str, event: Event) -> None:
    """Insert an event as it was before rows held their text; its hash is taken as it is."""
    row = {**vars(event), "event": str(event.event), "details": json.dumps(event.details)}
    places = ", ".join(["%s"] * len(row))
    execute(owner_url, f"INSERT INTO ledger_events ({', '.join(row)}) VALUES ({places})", *row.values())  # noqa: S608
