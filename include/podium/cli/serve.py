"""``podium serve``: the model server."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import app, log_to_stderr
from podium.errors import PodiumError

if TYPE_CHECKING:
    from podium.ledger.store import Ledger

log = logging.getLogger(__name__)


@app.command()
def serve(  # noqa: PLR0913 - one for each option of the command
    models: Annotated[list[str], typer.Argument(help="Models, by their names in the registry.")],
    alias: Annotated[str, typer.Option(help="The alias to follow.")] = "champion",
    version: Annotated[
        int | None, typer.Option(help="Serve this fixed version instead; for one model only.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all interfaces.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for a free one, printed at the start.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes; one per core is enough.")] = 1,
    poll: Annotated[float, typer.Option(min=0.1, help="Polling interval of the registry, in seconds.")] = 2.0,
    shadow: Annotated[
        str | None,
        typer.Option(
            help="candidate, another alias, or v7: it gets copies of the requests, and its answers go to "
            "nobody."
        ),
    ] = None,
    shadow_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the requests that the shadow gets.")
    ] = 1.0,
    canary: Annotated[
        float, typer.Option(min=0, max=100, help="Percentage of clients that the candidate answers.")
    ] = 0.0,
    max_body_mb: Annotated[int, typer.Option(min=1, help="Largest body of a request, in MiB.")] = 16,
    max_rows: Annotated[int, typer.Option(min=1, help="Most rows of a request.")] = 10_000,
) -> None:
    """Serve models over HTTP; each follows its alias without a restart.

    POST /predict takes a list of records, /invocations what MLflow's server takes. With the environment
    variable PODIUM_SERVING_TOKEN every request must carry that token (Authorization: Bearer ...).
    """
    import uvicorn

    from podium.lifecycle.profile_rules import refuse_alias
    from podium.services import connect_server
    from podium.serving.http import UVICORN
    from podium.serving.process import own_folder
    from podium.serving.settings import environment, load_serving_settings

    log_to_stderr("podium", form="%(asctime)s %(levelname)s %(message)s")
    settings = load_serving_settings(
        models=tuple(models),
        alias=alias,
        version=version,
        poll_seconds=poll,
        shadow=shadow,
        shadow_share=shadow_share,
        canary=canary,
        max_body_bytes=max_body_mb * 2**20,
        max_rows=max_rows,
        **_name(port),
    )
    refuse_alias(alias)
    # An address that is not set is said now, not by each process.
    _warn_if_it_may_append(connect_server().ledger)
    os.environ |= environment(settings)
    # A question that is not answered is asked again at the next poll.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "10"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with ExitStack() as held:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(held.enter_context(own_folder()))
        uvicorn.run(
            "podium.serving.app:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            timeout_graceful_shutdown=30,
            # A model that computes for long is not a process that hangs.
            timeout_worker_healthcheck=120,
            **UVICORN,
        )


def _name(port: int) -> dict[str, str]:
    """Name the server by host and port, unless the environment names it."""
    if "PODIUM_SERVING_SERVER_NAME" in os.environ:
        return {}
    # Of two servers that each take a free port.
    return {"server_name": f"{socket.gethostname()}:{port or f'0-{os.getpid()}'}"}


def _warn_if_it_may_append(ledger: Ledger) -> None:
    """Warn where this server, if it was taken over, could record an approval that nobody gave."""
    try:
        if ledger.may_append():
            log.warning(
                "The ledger's role %s can append events, even approvals. Set PODIUM_LEDGER_SERVER_URL with "
                "the role podium_server, which adds answers, labels and counts only.",
                ledger.engine.url.username,
            )
    except PodiumError as error:
        log.warning("The rights of this server in the ledger could not be checked: %s", error)
    finally:
        ledger.engine.dispose()
