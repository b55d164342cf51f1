"""Tables of who is answered what on each route of a program, and their comparison with what is installed."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from podium.settings import PROJECT_ROOT

# Method and route, as FastAPI writes it: ``("GET", "/api/2.0/mlflow/logged-models/{model_id}")``.
Route = tuple[str, str]


class RouteTable(NamedTuple):
    """A table of the repository.

    Attributes:
        path: Where it is.
        accounts: Who is asked for: its columns, beside method and route.
    """

    path: Path
    accounts: Sequence[str]

    def read(self) -> dict[Route, tuple[str, ...]]:
        """Return what each account is answered, by route."""
        with self.path.open(encoding="utf-8", newline="") as lines:
            return {
                (row["method"], row["route"]): tuple(map(row.__getitem__, self.accounts))
                for row in csv.DictReader(lines)
            }

    def let_in(self, account: str) -> set[Route]:
        """Return the routes by which an account is let in."""
        place = self.accounts.index(account)
        return {route for route, said in self.read().items() if said[place] == "let in"}

    def assert_holds(self, answers: Mapping[Route, tuple[str, ...]], program: str, folder: Path) -> None:
        """Compare it with what the installed program answers; what should be in it is left in a folder."""
        now = folder / "now.csv"
        with now.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow(("method", "route", *self.accounts))
            writer.writerows(
                (*route, *answers[route]) for route in sorted(answers, key=lambda route: route[::-1])
            )
        known = self.read()
        differs = {
            route: (known.get(route), answers.get(route))
            for route in {*known, *answers}
            if known.get(route) != answers.get(route)
        }
        assert not differs, (
            f"{program} differs from {self.path.relative_to(PROJECT_ROOT)}: {differs} (table, {program}). "
            f"Read what these routes do, then copy {now} there."
        )
