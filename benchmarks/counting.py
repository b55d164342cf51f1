"""The model server with its requests counted for monitoring, beside one that counts nothing.

Two servers of the same forest, one process each, asked in turns over 32 connections, so that what else the
machine does slows both. The exit code is 1 where the goal is missed. ``make bench-counting``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from other_servers import Server
from results import QUICK, Figure, at_least, keep
from rich.console import Console
from rich.table import Table
from serving import BODY, ROWS, forest, free_port, measure, port_of, running

from podium.ledger.store import Ledger
from podium.metrics.predictions import answer_streams
from podium.metrics.reference import Reference, make_reference, with_answers
from podium.registry.client import Registry
from podium.services import Services
from podium.settings import PROJECT_ROOT, Settings
from podium.stack import control
from podium.stack.layout import Paths
from podium.stack.running_stack import running_stack

sys.path.insert(0, str(PROJECT_ROOT / "tests"))
from support.serving import make_champion, register_model

CONNECTIONS = 32
# Many short turns: what else a machine does lasts longer.
ROUNDS, SECONDS = (10, 1.0) if QUICK else (60, 1.0)
ON, OFF = "forest-counted", "forest"
STATE = PROJECT_ROOT / ".podium" / "bench-counting"


def reference() -> Reference:
    """Return what requests are counted on."""
    days = pd.Series(pd.date_range("2026-01-01", periods=len(ROWS), freq="h"))
    answers = answer_streams(("no", "yes"), np.random.default_rng(1).dirichlet((1, 1), len(ROWS)))
    features = make_reference(ROWS, days, "0 0 * * *")
    return with_answers(features, make_reference(answers, days, "0 0 * * *"))


def main() -> None:
    """Print the table."""
    control.clean(Paths(STATE))
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with TemporaryDirectory() as folder, running_stack(STATE, parts={"postgres"}) as stack:
        os.chdir(folder)
        uri = f"sqlite:///{folder}/mlflow.db"
        os.environ |= {**stack.client_env(), "MLFLOW_TRACKING_URI": uri}
        services = Services(Settings(), registry=Registry(uri), ledger=Ledger(stack.ledger_url))
        for model, known in ((ON, reference()), (OFF, None)):
            number = register_model(
                services,
                model,
                forest(0),
                ROWS,
                classifies=True,
                trusted=["sklearn.tree._tree.Tree"],
                reference=known,
            )
            make_champion(services, model, number)
        podium = str(Path(sys.executable).parent / "podium")
        on, off = (Server(name, f"http://127.0.0.1:{free_port()}", BODY) for name in (ON, OFF))
        logs = Path(folder)
        with (
            running([podium, "serve", ON, "--port", port_of(on)], on, logs / "on.log"),
            running([podium, "serve", OFF, "--port", port_of(off)], off, logs / "off.log"),
        ):
            rates = in_turns(on, off)
        with services.ledger.engine.connect() as connection:
            counted = connection.exec_driver_sql("SELECT sum(row_count), sum(lost) FROM served_counts").one()
    counting, alone = np.median(rates, axis=0)
    table = Table("server", "requests/s (median)")
    for name, rate in ((ON, counting), (OFF, alone)):
        table.add_row(name, f"{rate:,.0f}")
    Console().print(f"One row a request, {CONNECTIONS} connections, {ROUNDS} rounds in turns.", table)
    figures = [
        Figure("rows counted", float(counted[0]), ""),
        Figure("rows that there was no time to count", float(counted[1]), ""),
        at_least("requests a second (median), counting / not counting", float(counting / alone), "x", 0.97),
    ]
    keep("counting", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit(1)


def in_turns(one: Server, other: Server) -> np.ndarray:
    """Return the requests a second of both in each round, shape (rounds, 2)."""
    rates = []
    for turn in range(ROUNDS + 1):
        servers = (one, other) if turn % 2 else (other, one)
        now = {
            server.name: asyncio.run(measure(server, CONNECTIONS, SECONDS)).per_second for server in servers
        }
        rates.append((now[one.name], now[other.name]))
    # The first round warms both.
    return np.asarray(rates[1:])


if __name__ == "__main__":
    main()
