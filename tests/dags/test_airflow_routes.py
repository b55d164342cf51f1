"""Every route of the installed Airflow is asked as every account, and compared with a table.

A new Airflow with other routes: read what they do, give people more or less in ``podium_airflow.roles`` or
``podium_airflow.auth_manager`` if they should have it, and write the table that the failing test names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from podium.settings import PROJECT_ROOT
from support.route_tables import RouteTable

TABLE = RouteTable(
    PROJECT_ROOT / "tests" / "data" / "airflow_routes.csv",
    ("nobody", "viewer", "approver", "operator", "podium"),
)
PASSWORDS = ("VIEWER", "OPERATOR", "APPROVER", "ADMIN", "LOOKUP")


def test_every_route_of_the_installed_airflow_answers_each_account_as_the_table_says(
    run_script: Callable[..., Any], tmp_path: Path
) -> None:
    answers = run_script(
        "airflow_routes.py",
        AIRFLOW__CORE__AUTH_MANAGER="podium_airflow.auth_manager.PodiumFabAuthManager",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{tmp_path}/airflow.db",
        AIRFLOW__API__SECRET_KEY="of-a-test",
        AIRFLOW__API_AUTH__JWT_SECRET="of-a-test-and-long-enough-for-sha-512-" + "x" * 32,
        **{f"PODIUM_{name}_PASSWORD": f"{name}-not-a-secret" for name in PASSWORDS},
    )
    now = {(method, route): tuple(said) for method, route, *said in answers}
    TABLE.assert_holds(now, "Airflow", tmp_path)


def test_an_approver_answers_and_triggers_settle_champion_and_changes_nothing_else() -> None:
    more = TABLE.let_in("approver") - TABLE.let_in("viewer")
    task = "dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"
    assert more == {
        ("PATCH", f"/api/v2/dags/{{dag_id}}/{task}"),
        ("PATCH", f"/api/v2/dags/settle_champion/{task}"),
        ("POST", "/api/v2/dags/settle_champion/dagRuns"),
    }


def test_a_viewer_changes_nothing_but_its_own_favourites_and_login() -> None:
    writes = {route for method, route in TABLE.let_in("viewer") if method != "GET"}
    reads = {route for route in writes if route.endswith("/list")}
    favourites = {route for route in writes if route.endswith("/favorite") or route.endswith("/unfavorite")}
    logins = {"/auth/token", "/auth/token/cli", "/ui/auth/token"}
    about_itself = {"/auth/resetmypassword/form", "/auth/userinfoeditview/form"}
    assert writes == reads | favourites | logins | about_itself


def test_what_tasks_ask_for_answers_to_no_account() -> None:
    """Tasks ask with passes of their own, for secrets, values of other tasks and states of runs."""
    said = {route: its for route, its in TABLE.read().items() if route[1].startswith("/execution/")}
    open_to_all = {route for (_, route), its in said.items() if its == ("let in",) * 5}
    assert open_to_all == {
        *("/execution/changelog", "/execution/docs", "/execution/docs/oauth2-redirect", "/execution/redoc"),
        *("/execution/health", "/execution/health/ping", "/execution/openapi.json"),
    }
    others = {its for (_, route), its in said.items() if route not in open_to_all}
    assert others == {("401", "403", "403", "403", "403")}


def test_podiums_own_account_reads_accounts_roles_dags_and_their_runs_and_starts_none() -> None:
    about_itself = {"/ui/auth/me", "/ui/auth/menus", "/ui/config", "/ui/auth/token"}
    routes = TABLE.let_in("podium") - TABLE.let_in("nobody")
    words = ("/dags", "/backfills", "/dagTags", "/dagStats", "/dashboard/dag_stats")
    about_runs = {(method, route) for method, route in routes if any(word in route for word in words)}
    assert {route.rpartition("/")[2] for method, route in about_runs if method != "GET"} == {
        *("list", "favorite", "unfavorite"),
    }
    more = {route for _, route in routes - about_runs} - about_itself
    fab = "/auth/fab/v1"
    # They show what somebody may read, here the model of no Dag.
    pages = {route for route in more if route.startswith("/podium/") and "/closed/" not in route}
    assert pages == {route for method, route in TABLE.let_in("viewer") if route in pages and method == "GET"}
    assert more - pages == {
        *(f"{fab}/users", f"{fab}/users/{{username}}", f"{fab}/roles", f"{fab}/roles/{{name}}"),
        f"{fab}/permissions",
        *("/auth/users/list/", "/auth/users/show/{pk}", "/auth/roles/list/", "/auth/roles/show/{pk}"),
        # It ends the wait of an approval whose request is closed on record, and no other.
        *("/podium/closed/{dag_id}/{run_id}", "/podium/closed/settle_champion/{run_id}"),
    }


def test_nobody_is_let_in_but_to_log_in_and_to_what_holds_no_data() -> None:
    pages = ("/docs", "/redoc", "/openapi.json", "/health", "/auth", "/api/v2/auth", "/api/v2/monitor")
    pages += (
        "/api/v2/version",
        "/{rest_of_path",
        "/api/v1/{",
        "/api/{",
        "/execution/docs",
        "/execution/redoc",
    )
    pages += ("/execution/changelog", "/execution/health", "/execution/openapi.json")
    pages += ("/podium/static/",)
    assert not {route for _, route in TABLE.let_in("nobody") if not route.startswith(pages)}
