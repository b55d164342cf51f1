"""Log people in as the document's configuration of a provider does, and print the roles they get."""

from __future__ import annotations

import json
import os

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from flask import current_app

from podium_airflow import initialise

COMES = [("ada", ["ml-approvers"]), ("bob", ["somewhere-else"]), ("ada", ["ml-operators", "ml-platform"])]


def main() -> None:
    initialise.main()
    with get_application_builder() as appbuilder, current_app.test_request_context():
        manager = appbuilder.sm
        roles = []
        for name, groups in COMES:
            told = {"username": name, "email": f"{name}@example.com", "first_name": "", "last_name": ""}
            user = manager.auth_user_oauth({**told, "role_keys": groups})
            roles.append(sorted(role.name for role in user.roles))
        seen = {"providers": list(manager.oauth_remotes), "roles": roles, "name": user.get_name()}

    for name in ("LOOKUP", "OPERATOR"):
        os.environ[f"PODIUM_{name}_PASSWORD"] += "-changed"
    initialise.main()
    with get_application_builder() as appbuilder, current_app.test_request_context():
        changed = [
            login
            for login, name in (("podium", "LOOKUP"), ("operator", "OPERATOR"))
            if appbuilder.sm.auth_user_db(login, os.environ[f"PODIUM_{name}_PASSWORD"])
        ]
    print(json.dumps({**seen, "changed": changed}))


main()
