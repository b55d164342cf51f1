"""``podium mend``: put back what somebody edited by hand in MLflow."""

from __future__ import annotations

from podium.cli.app import Model, app, console


@app.command()
def mend(model: Model) -> None:
    """Restore a registered model, its versions and its experiment to the state in the ledger.

    For a model that was renamed, deleted or created again in MLflow, a champion or former champion that was
    deleted, and a deleted experiment; `podium doctor` and `podium verify` name them. It takes MLflow's login
    `podium`. Obstacles are renamed, nothing is deleted.
    """
    from podium.lifecycle.edited import mend as mend_model
    from podium.services import connect

    for line in mend_model(connect(), model):
        console.print(line, highlight=False, soft_wrap=True)
