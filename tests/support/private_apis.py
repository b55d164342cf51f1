"""What Podium uses of libraries that they do not promise to keep, and how to see that it has changed.

A name is private if it begins with an underscore, or stands in a module that its library documents as
internal or not at all. Where the code uses one, a comment links to its source in the installed version.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from podium.settings import PROJECT_ROOT

# All that runs, or that tests run with.
SOURCES = ("include/**/*.py", "plugins/**/*.py", "dags/*.py", "deploy/**/*", "tests/support/*.py")
SOURCES += ("docker-compose.yaml", "pyproject.toml", "include/podium/training/templates/*")


@dataclass(frozen=True)
class PrivateApi:
    """One private name.

    Attributes:
        path: ``module:name`` or ``module:Class.name``; a module alone is only imported.
        call: The arguments that we give, in words of Python: ``"a, b, c="``; None for what is not called.
        overridden: We override it, so it is called with exactly these arguments.
        found_by: By what our use of it is found, where its last name is too common.
    """

    path: str
    call: str | None = None
    overridden: bool = False
    found_by: str = ""

    def difference(self) -> str:
        """Say how it is no longer as we use it; "" if it is."""
        try:
            found = _resolved(self.path)
        except (ImportError, AttributeError) as error:
            return f"it has moved: {error}"
        if self.call is None:
            return ""
        signature = inspect.signature(found)
        taken = [name for name in signature.parameters if name != "self"]
        given = [name.strip() for name in self.call.split(",") if name.strip()]
        by_place = [name for name in given if not name.endswith("=")]
        by_name = [name.removesuffix("=") for name in given if name.endswith("=")]
        if taken[: len(by_place)] != by_place or not set(by_name) <= set(taken):
            return f"it takes {signature}, we give it ({self.call})"
        if missing := [name for name in _required(signature) if name not in (*by_place, *by_name)]:
            return f"it takes {signature}, and we do not give it {', '.join(missing)}"
        if self.overridden and set(taken) != {*by_place, *by_name}:
            return f"it is called with {signature}, our override takes ({self.call})"
        return ""

    def uses(self) -> list[str]:
        """Return where in our files it is used, as ``file:line``."""
        module, _, name = self.path.partition(":")
        return uses_of(self.found_by or name.rpartition(".")[2] or module)


def uses_of(sought: str) -> list[str]:
    """Return where in our files a text stands, comments aside, as ``file:line``."""
    return [
        f"{path.relative_to(PROJECT_ROOT)}:{number}"
        for path, text in our_files().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if sought in line and not line.lstrip().startswith("#")
    ]


@functools.cache
def our_files() -> Mapping[Path, str]:
    """Return the text of our files, but not of this one, which names everything."""
    found = [path for pattern in SOURCES for path in sorted(PROJECT_ROOT.glob(pattern)) if path.is_file()]
    ours = [path for path in found if path != Path(__file__) and path.suffix != ".pyc"]
    return {path: path.read_text(encoding="utf-8") for path in ours}


def _resolved(path: str) -> Any:
    module, _, names = path.partition(":")
    found: Any = import_module(module)
    for name in filter(None, names.split(".")):
        found = getattr(found, name)
    return found


def _required(signature: inspect.Signature) -> list[str]:
    return [
        name
        for name, parameter in signature.parameters.items()
        if name != "self"
        and parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


_REGISTRY_CLIENT = "mlflow.tracking._model_registry.client:ModelRegistryClient"
_HTTP = "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol"

_STORE = "mlflow.store.model_registry.sqlalchemy_store:SqlAlchemyStore"

LIBRARIES = (
    PrivateApi("mlflow.store.model_registry.dbmodels.models:SqlModelVersion"),
    PrivateApi(
        "mlflow.store.model_registry.dbmodels.models:SqlRegisteredModel.to_mlflow_entity",
        "preloaded_latest_versions=",
    ),
    PrivateApi(
        "mlflow.store.model_registry.sqlalchemy_workspace_store:WorkspaceAwareSqlAlchemyStore", "db_uri"
    ),
    PrivateApi(f"{_STORE}._get_registered_model", "session, name, eager="),
    PrivateApi(f"{_STORE}._get_latest_versions_for_models", "session, model_names", overridden=True),
    PrivateApi(f"{_STORE}._get_eager_registered_model_query_options", "", overridden=True),
    PrivateApi(f"{_STORE}._get_eager_model_version_query_options", "", overridden=True),
    PrivateApi(f"{_STORE}._populate_model_version_aliases", "session, name, version"),
    PrivateApi(f"{_STORE}._get_workspace_clauses", "model"),
    PrivateApi("mlflow.tracking.client:MlflowClient._get_registry_client", ""),
    PrivateApi(f"{_REGISTRY_CLIENT}.set_registered_model_alias", "name, alias, version"),
    PrivateApi(f"{_REGISTRY_CLIENT}.delete_registered_model_alias", "name, alias"),
    PrivateApi(f"{_REGISTRY_CLIENT}.set_model_version_tag", "name, version, key, value"),
    PrivateApi(f"{_REGISTRY_CLIENT}.delete_model_version_tag", "name, version, key"),
    PrivateApi(f"{_REGISTRY_CLIENT}.set_registered_model_tag", "name, key, value"),
    PrivateApi("mlflow.store.artifact.models_artifact_repo:REGISTERED_MODEL_META_FILE_NAME"),
    PrivateApi(
        "mlflow.store.artifact.artifact_repository_registry:get_artifact_repository",
        "artifact_uri, tracking_uri=",
    ),
    PrivateApi("mlflow.store.db.utils:_upgrade_db", "engine"),
    PrivateApi("mlflow.store.db_migrations", found_by="db_migrations"),
    PrivateApi("mlflow.store.model_registry.sqlalchemy_store"),
    PrivateApi("mlflow.store.tracking.sqlalchemy_store"),
    PrivateApi("mlflow.pyfunc.scoring_server:SUPPORTED_FORMATS"),
    PrivateApi("mlflow.pyfunc.scoring_server:_parse_json_data", "data, metadata, input_schema"),
    PrivateApi("mlflow.pyfunc.scoring_server:ParsedJsonInput.data", found_by="_parse_json_data"),
    PrivateApi("mlflow.models.model:Model._is_signature_from_type_hint", ""),
    PrivateApi("mlflow.models.utils:_save_example", "mlflow_model, input_example, path"),
    PrivateApi("mlflow.pyfunc:PyFuncModel", "model_meta=, model_impl=", found_by="PyFuncModel(model_meta"),
    PrivateApi("mlflow.utils.proto_json_utils:NumpyEncoder.default", "o", found_by="NumpyEncoder"),
    PrivateApi("mlflow.utils.credentials:read_mlflow_creds", ""),
    PrivateApi("mlflow.utils:requirements_utils._MODULES_TO_PACKAGES"),
    PrivateApi("mlflow.utils.requirements_utils:_init_modules_to_packages_map", ""),
    PrivateApi("sklearn.externals.array_api_compat.torch"),
    PrivateApi("mlflow.server.auth:authenticate_request_basic_auth"),
    PrivateApi("mlflow.server.auth:create_app", "", found_by="create_mlflow"),
    PrivateApi("mlflow.environment_variables:_MLFLOW_SGI_NAME"),
    PrivateApi("mlflow.tracing.processor.otel"),
    PrivateApi("mlflow.tracking.request_header.registry"),
    PrivateApi("pandera.backends.pandas.register"),
    PrivateApi(f"{_HTTP}.connection_made", "transport", overridden=True),
    PrivateApi(f"{_HTTP}.connection_lost", "exc", overridden=True),
    PrivateApi(f"{_HTTP}.data_received", "data", overridden=True),
    PrivateApi(f"{_HTTP}.on_message_begin", "", overridden=True),
    PrivateApi(f"{_HTTP}.on_headers_complete", "", overridden=True),
    PrivateApi(f"{_HTTP}.on_body", "body", overridden=True),
    PrivateApi(f"{_HTTP}.on_message_complete", "", overridden=True),
    PrivateApi(f"{_HTTP}.on_response_complete", "", overridden=True),
    PrivateApi(f"{_HTTP}.pause_writing", "", overridden=True),
    PrivateApi(f"{_HTTP}.resume_writing", "", overridden=True),
    PrivateApi(f"{_HTTP}.send_400_response", "msg"),
    PrivateApi("typer.core:TyperGroup.invoke", "ctx", overridden=True, found_by="TyperGroup"),
    PrivateApi("botocore.awsrequest:AWSRequest", "method, url, data="),
    PrivateApi("botocore.auth:S3SigV4Auth", "credentials, service_name, region_name"),
    PrivateApi("botocore.auth:S3SigV4Auth.add_auth", "request"),
)

_FAB = "airflow.providers.fab.auth_manager.fab_auth_manager:FabAuthManager"
_FAB_SECURITY = (
    "airflow.providers.fab.auth_manager.security_manager.override:FabAirflowSecurityManagerOverride"
)
_HITL = "airflow.providers.standard.operators.hitl:HITLOperator"

AIRFLOW = (
    PrivateApi("airflow.api_fastapi.core_api.security:requires_access_dag", "method=, access_entity="),
    PrivateApi("airflow.api_fastapi.core_api.security:get_user"),
    PrivateApi("airflow.models.dag:DagModel.next_dagrun_create_after"),
    PrivateApi("airflow.api_fastapi.auth.managers.models.resource_details:DagAccessEntity.HITL_DETAIL"),
    PrivateApi(f"{_FAB}._is_authorized", "method=, resource_type=, user="),
    PrivateApi(f"{_FAB}.is_authorized_dag", "method=, user=, access_entity=, details=", overridden=True),
    PrivateApi(f"{_FAB}.is_authorized_hitl_task", "assigned_users=, user=", overridden=True),
    PrivateApi("airflow.providers.fab.auth_manager.models:User.get_name", ""),
    PrivateApi("airflow.providers.fab.auth_manager.models:User.username"),
    PrivateApi("airflow.providers.fab.auth_manager.models:User.active"),
    PrivateApi("airflow.providers.fab.auth_manager.models:User.roles"),
    PrivateApi("airflow.utils.session:create_session", ""),
    PrivateApi("airflow.api_fastapi.core_api.security:get_user"),
    PrivateApi("airflow.models.taskinstance:TaskInstance.trigger_timeout"),
    PrivateApi("airflow.models.xcom:XComModel.value"),
    PrivateApi("airflow.models.hitl:HITLDetail.responded_at"),
    PrivateApi("airflow.models.dagrun:DagRun.note", found_by="dag_run.note"),
    PrivateApi("airflow.providers.fab.www.security.permissions:RESOURCE_HITL_DETAIL"),
    PrivateApi("airflow.providers.fab.www.security.permissions:RESOURCE_DAG_RUN"),
    PrivateApi("airflow.providers.fab.www.security.permissions:resource_name", "dag_id, resource"),
    PrivateApi("airflow.providers.fab.auth_manager.cli_commands.utils:get_application_builder", ""),
    PrivateApi("airflow.utils.db:upgradedb", ""),
    PrivateApi("airflow.models.taskinstance:uuid7", "", found_by="try_id.int"),
    PrivateApi(f"{_FAB_SECURITY}.VIEWER_PERMISSIONS"),
    PrivateApi(f"{_FAB_SECURITY}.session", found_by="manager.session"),
    PrivateApi(f"{_FAB_SECURITY}.bulk_sync_roles", "roles"),
    PrivateApi(f"{_FAB_SECURITY}.find_role", "name"),
    PrivateApi(f"{_FAB_SECURITY}.find_user", "username="),
    PrivateApi(f"{_FAB_SECURITY}.reset_password", "userid, password"),
    PrivateApi(f"{_FAB_SECURITY}.add_user", "username, first_name, last_name, email, role, password"),
    PrivateApi(_HITL, "subject=, options=, assigned_users=, response_timeout="),
    PrivateApi(f"{_HITL}.execute", "context", overridden=True, found_by="def execute("),
    PrivateApi(f"{_HITL}.execute_complete", "context, event", overridden=True),
    PrivateApi("airflow.sdk.exceptions:TaskAwaitingInput", "method_name=, timeout="),
    PrivateApi(
        "airflow.sdk.execution_time.hitl:upsert_hitl_detail",
        "ti_id=, options=, subject=, body=, defaults=, multiple=, params=, assigned_users=",
    ),
    PrivateApi(
        "airflow.executors.local_executor:LocalExecutor._spawn_workers_with_gc_freeze",
        "spawn_number",
        overridden=True,
    ),
    PrivateApi(
        "airflow.executors.local_executor:LocalExecutor._process_workloads",
        "workload_list",
        overridden=True,
        found_by="._process_workloads(workload_list)",
    ),
    PrivateApi(
        "airflow.executors.local_executor:LocalExecutor.start",
        "",
        overridden=True,
        found_by="(LocalExecutor)",
    ),
    PrivateApi("airflow.configuration:AIRFLOW_HOME"),
)
