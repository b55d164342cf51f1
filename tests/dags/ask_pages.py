"""Ask Podium's pages in Airflow's own application, as several people; prints what each was answered."""

from __future__ import annotations

import json
import os
import re
import sys

from airflow.api_fastapi.app import create_app
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from cards import put_up_a_card
from fastapi.testclient import TestClient
from sqlalchemy import text

from podium_airflow import initialise
from podium_airflow.answers import connected

ASKED = json.loads(os.environ["ASKED"])
TOKEN = re.compile(r'name="token" value="([^"]+)"')

SEE_NO_DAG = """DELETE FROM ab_permission_view_role
WHERE role_id = (SELECT id FROM ab_role WHERE name = 'Podium') AND permission_view_id IN (
    SELECT pv.id FROM ab_permission_view pv JOIN ab_view_menu v ON v.id = pv.view_menu_id
    WHERE v.name IN ('DAGs', 'DAG Runs'))"""


def main() -> None:
    initialise.main()
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        for dag_id in filter(None, os.environ.get("DAGS", "").split()):
            session.add(DagModel(dag_id=dag_id, bundle_name="dags", relative_fileloc="lifecycle.py"))
        # Of all accounts that there are, this one can be made to see no Dag.
        session.execute(text(SEE_NO_DAG))
    for run in os.environ.get("CARDS", "").split():
        put_up_a_card(*run.split("/"))
    heavy = [name for name in ("mlflow", "pandas", "sklearn") if name in sys.modules]
    told: list[object] = []
    with TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False) as client:
        logins: dict[str, str] = {"nobody": ""}
        for who in ("viewer", "operator", "approver", "podium"):
            name = "LOOKUP" if who == "podium" else who.upper()
            login = {"username": who, "password": os.environ[f"PODIUM_{name}_PASSWORD"]}
            logins[who] = client.post("/auth/token", json=login).json()["access_token"]
        for ask in ASKED:
            client.cookies.clear()
            if logins[ask["who"]]:
                # As the browser does: Airflow's pages log in by this cookie.
                client.cookies.set("_token", logins[ask["who"]])
            if ask.get("environment"):
                os.environ.update(ask["environment"])
                connected.cache_clear()
            headers = {"Accept": "text/html", **ask.get("headers", {})}
            form = ask.get("form")
            if form is not None and "token" not in form:
                page = client.get(ask["page"], headers=headers).text
                found = TOKEN.search(page)
                form["token"] = found[1] if found else ""
            said = client.request("GET" if form is None else "POST", ask["path"], headers=headers, data=form)
            told.append([said.status_code, said.text, dict(said.headers)])
    print(json.dumps({"told": told, "heavy_before": heavy}))


main()
