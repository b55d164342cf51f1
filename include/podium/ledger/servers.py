"""Which model servers answer with which version now, as they say themselves: the table ``servers``.

It is no evidence and nothing is decided by it. Each server writes it by one function of the database, so its
role changes and deletes nothing. A server that was not heard of for three minutes is silent, and after a day
nobody remembers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from podium.ledger.store import Ledger, outages

SILENT = "3 minutes"
_TELL = sa.text("""SELECT tell_served(:server, :process,
    CAST(:models AS text[]), CAST(:versions AS integer[]), CAST(:problems AS text[]))""")
# A process that is silent while another one of its server is heard of was replaced by it.
_OF_MODELS = sa.text(f"""WITH told AS (
    SELECT *, at > clock_timestamp() - interval '{SILENT}' AS alive FROM servers
    WHERE model = ANY (CAST(:models AS text[])) AND at > clock_timestamp() - interval '1 day'
), newest AS (
    SELECT model, server, bool_or(alive) AS alive FROM told GROUP BY model, server
)
SELECT model, server, NOT newest.alive AS silent, array_agg(DISTINCT version) AS versions,
    max(problem) AS problem, max(at) AS at
FROM told JOIN newest USING (model, server) WHERE told.alive = newest.alive
GROUP BY model, server, newest.alive ORDER BY model, server""")  # noqa: S608 - a constant


class Served(NamedTuple):
    """What one process of a model server answers with.

    Attributes:
        model: The registered model.
        version: The version that serves; None if none is loaded.
        problem: Why it is not the one that should; "" if it is.
    """

    model: str
    version: int | None
    problem: str


@dataclass(frozen=True)
class Server:
    """A model server, as its processes told.

    Attributes:
        name: Its host and port.
        versions: What its processes answer with; None is one that has loaded none.
        problem: Why one of them does not answer with the version that it should; "" if all do.
        at: When it was last heard of.
        silent: Whether that is more than three minutes ago.
    """

    name: str
    versions: tuple[int | None, ...]
    problem: str
    at: datetime
    silent: bool


class Following(NamedTuple):
    """The servers of a model, by whether they answer with the champion."""

    current: tuple[Server, ...] = ()
    behind: tuple[Server, ...] = ()
    silent: tuple[Server, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any server."""
        return any((self.current, self.behind, self.silent))


NOBODY = Following()


def tell(ledger: Ledger, server: str, process: int, served: Sequence[Served]) -> None:
    """Say what one process of a model server serves now; nothing: it ends.

    Raises:
        Outage: The database did not answer.
        PodiumError: It does not take this, or is older than this Podium.
    """
    columns = {
        "models": [of.model for of in served],
        "versions": [of.version for of in served],
        "problems": [of.problem.replace("\0", "") for of in served],
    }
    ledger.tell(_TELL, {"server": server, "process": process, **columns})


def servers_of(ledger: Ledger, models: Iterable[str]) -> dict[str, list[Server]]:
    """Return the servers that told of each of these models within the last day, by one query.

    Raises:
        Outage: The database did not answer.
    """
    by_model: dict[str, list[Server]] = {model: [] for model in models}
    with outages(), ledger.engine.connect() as connection:
        for row in connection.execute(_OF_MODELS, {"models": list(by_model)}):
            server = Server(row.server, tuple(row.versions), row.problem, row.at, row.silent)
            by_model[row.model].append(server)
    return by_model


def following(servers: Iterable[Server], champion: int | None) -> Following:
    """Tell servers that answer with the champion from those that do not, and from silent ones."""
    found = list(servers)
    heard = [server for server in found if not server.silent]
    return Following(
        current=tuple(server for server in heard if server.versions == (champion,)),
        behind=tuple(server for server in heard if server.versions != (champion,)),
        silent=tuple(server for server in found if server.silent),
    )
