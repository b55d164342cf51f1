"""Puts each answer to an approval on record, and shows on the card what was answered so far.

Airflow stores the text of a card once and never changes it. So the card holds a picture, which the API server
draws from the ledger whenever somebody opens the card.
"""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, HTTPException, Response

from podium_airflow.answers import AnswersDoor, connected
from podium_airflow.runs import ANSWERS_PREFIX

# `requires_access_dag` is private to Airflow:
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/api_fastapi/core_api/security.py
app = FastAPI(title="Podium", openapi_url=None)


@app.get(
    "/answers/{dag_id}/{run_id}.svg",
    dependencies=[Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.HITL_DETAIL))],
)
def answers(dag_id: str, run_id: str) -> Response:
    """Draw what a run was answered so far, for whoever may see its required actions."""
    from podium.errors import NotFound, PodiumError
    from podium.lifecycle import approval
    from podium.model_file.loading import find_spec
    from podium.reporting import approval_card
    from podium.settings import models_dir

    run = f"{dag_id}/{run_id}"
    try:
        services = connected()
        request = approval.find_request(services, run)
        policy = find_spec(models_dir(), request.model).approval
        given = approval.answers(services.ledger.history(request.model), run)
        lines = approval_card.describe_answers(policy, given)
    except NotFound as error:
        raise HTTPException(404, str(error)) from error
    except PodiumError as error:
        raise HTTPException(503, str(error)) from error
    return Response(approval_card.answers_picture(lines), media_type="image/svg+xml", headers=HEADERS)


HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}


class PodiumPlugin(AirflowPlugin):
    """Tells Airflow of the app and of the door."""

    name = "podium"
    fastapi_apps: ClassVar[list[Any]] = [{"app": app, "url_prefix": ANSWERS_PREFIX, "name": "Podium"}]
    fastapi_root_middlewares: ClassVar[list[Any]] = [{"middleware": AnswersDoor, "name": "Podium's answers"}]
