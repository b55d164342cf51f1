"""Who looks at a page, what they may see, and whether they meant to send a form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.sdk import conf
from fastapi import Depends, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from podium.errors import ForeignForm, NotFound, PodiumError
from podium.model_file.spec import lifecycle_dag_id
from podium_airflow.people import person_in_database

# Private to Airflow are `get_user`, its auth manager and its details of a Dag:
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/api_fastapi/app.py
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/api_fastapi/core_api/security.py
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/api_fastapi/auth/managers/models/resource_details.py
_FORM_HOURS = 12
_LONGEST_FORM = 2**18
_OURS = ("same-origin", "none")


@dataclass(frozen=True)
class Visitor:
    """Somebody who is logged in to Airflow."""

    user: BaseUser

    @property
    def name(self) -> str:
        """The login name."""
        return self.user.get_name()

    def person(self) -> Any:
        """Return who this is, by the accounts of now."""
        return person_in_database(self.name)

    def may_read(self, model: str) -> bool:
        """Tell whether this person may read a model's Dag."""
        return self.may_read_dag(lifecycle_dag_id(model))

    def may_read_dag(self, dag_id: str) -> bool:
        """Tell whether this person may read a Dag."""
        return get_auth_manager().is_authorized_dag(
            method="GET", details=DagDetails(id=dag_id), user=self.user
        )

    def may_trigger(self, dag_id: str) -> bool:
        """Tell whether this person may start runs of a Dag."""
        return get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=self.user
        )

    def may_edit(self, dag_id: str) -> bool:
        """Tell whether this person may let a Dag run."""
        return get_auth_manager().is_authorized_dag(
            method="PUT", details=DagDetails(id=dag_id), user=self.user
        )

    def may_answer(self, dag_id: str) -> bool:
        """Tell whether this person's role may answer required actions of a Dag."""
        return get_auth_manager().is_authorized_dag(
            method="PUT",
            access_entity=DagAccessEntity.HITL_DETAIL,
            details=DagDetails(id=dag_id),
            user=self.user,
        )

    def assert_may_read(self, model: str) -> None:
        """Refuse a model that this person may not see, in the words for one that does not exist.

        Raises:
            NotFound: This person may not read the model's Dag.
        """
        if not self.may_read(model):
            raise NotFound(f"There is no model '{model}', or you may not see it.")

    def token(self) -> str:
        """Return what a form of this person has to send along."""
        return _signer().dumps(self.name)


def visitor(user: Annotated[BaseUser, Depends(get_user)]) -> Visitor:
    """Return who asks."""
    return Visitor(user)


SomeVisitor = Annotated[Visitor, Depends(visitor)]


async def form_of(request: Request, who: SomeVisitor) -> dict[str, str]:
    """Return the fields of a form that this person sent from a page of ours.

    Raises:
        ForeignForm: It came from elsewhere, or the page is too old.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in _OURS:
        raise ForeignForm("This form did not come from Podium's page; nothing was done.")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _LONGEST_FORM:
        raise PodiumError("The form is too long; nothing was done.")
    body = (await request.body()).decode("utf-8", "replace")
    # A browser sends each line break of a text as two characters.
    form = {name: text.replace("\r\n", "\n") for name, text in parse_qsl(body, keep_blank_values=True)}
    try:
        sent_by = _signer().loads(form.pop("token", ""), max_age=_FORM_HOURS * 3600)
    except BadSignature:
        sent_by = None
    if sent_by != who.name:
        raise ForeignForm(
            f"This form is older than {_FORM_HOURS} hours, or of another login. Nothing was done: go back, "
            "load the page again and send it again."
        )
    return form


SentForm = Annotated[dict[str, str], Depends(form_of)]


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="podium-pages")
