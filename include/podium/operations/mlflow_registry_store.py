"""MLflow's model registry in its database; a request about a model costs the same whatever its age.

MLflow makes an object of each version to find the newest one of each stage, and does so to see who may make a
request: https://github.com/mlflow/mlflow/issues/15384. Here the database finds them, by an index of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.entities.model_registry.model_version_stages import ALL_STAGES, get_canonical_stage
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModel
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from sqlalchemy.orm import selectinload

if TYPE_CHECKING:
    from sqlalchemy.orm import Session
    from sqlalchemy.orm.interfaces import ORMOption

# MLflow's migrations know nothing of it, and go on beside it.
_INDEX = (
    "CREATE INDEX IF NOT EXISTS podium_newest_of_stage "
    "ON model_versions (workspace, name, current_stage, version)"
)
# One number for all servers of a database: of two that make an index at once, Postgres refuses one.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(7208319904)"


def make_index(engine: sa.Engine) -> None:
    """Make the index of versions by stage, where it is missing."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text(_ONE_AT_A_TIME))
        connection.execute(sa.text(_INDEX))


class FlatRegistryStore(WorkspaceAwareSqlAlchemyStore):  # type: ignore[misc]  # MLflow types it Any
    """Answers as MLflow's own store; what MLflow's server makes for the database's address.

    MLflow documents how it is told of a store, not what is in its own:
    https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/store/model_registry

    Args:
        store_uri: MLflow's database.
    """

    def __init__(self, store_uri: str) -> None:
        super().__init__(store_uri)
        make_index(self.engine)

    def get_registered_model(self, name: str) -> RegisteredModel:
        """Return a registered model with the newest version of each stage."""
        with self.ManagedSessionMaker() as session:
            model = self._get_registered_model(session, name, eager=True)
            return model.to_mlflow_entity(preloaded_latest_versions=self._newest(session, name))

    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[ModelVersion]:
        """Return the newest version of each stage, or of those that are named."""
        wanted = {get_canonical_stage(stage) for stage in stages or ALL_STAGES}
        with self.ManagedSessionMaker() as session:
            self._get_registered_model(session, name)
            newest = [version.to_mlflow_entity() for version in self._newest(session, name)]
            return [
                self._populate_model_version_aliases(session, name, version)
                for version in newest
                if version.current_stage in wanted
            ]

    @staticmethod
    def _get_eager_registered_model_query_options() -> list[ORMOption]:
        """Look up tags and aliases by the models found; MLflow asks the whole question again for each."""
        return [
            selectinload(SqlRegisteredModel.registered_model_tags),
            selectinload(SqlRegisteredModel.registered_model_aliases),
        ]

    @staticmethod
    def _get_eager_model_version_query_options() -> list[ORMOption]:
        """The same of the tags of versions."""
        return [selectinload(SqlModelVersion.model_version_tags)]

    def _newest(self, session: Session, name: str) -> list[SqlModelVersion]:
        return self._get_latest_versions_for_models(session, [name]).get(name, [])

    def _get_latest_versions_for_models(
        self, session: Session, model_names: list[str]
    ) -> dict[str, list[SqlModelVersion]]:
        """Return the newest version of each stage; also what MLflow asks for a page of models."""
        # Four looks into the index a model. Grouped by stage, Postgres would read the keys of all versions.
        newest = (
            sa.select(sa.func.max(SqlModelVersion.version))
            .where(
                *self._get_workspace_clauses(SqlModelVersion),
                SqlModelVersion.name == SqlRegisteredModel.name,
                SqlModelVersion.current_stage == stage,
            )
            .correlate(SqlRegisteredModel)
            .scalar_subquery()
            for stage in ALL_STAGES
        )
        of_models = sa.select(SqlRegisteredModel.name, *newest).where(
            *self._get_workspace_clauses(SqlRegisteredModel), SqlRegisteredModel.name.in_(model_names)
        )
        # Their numbers first: as a part of one query, Postgres reads all versions once more for it.
        numbers = [
            (name, number)
            for name, *of_stages in session.execute(of_models)
            for number in of_stages
            if number is not None
        ]
        found = session.scalars(
            sa.select(SqlModelVersion)
            .where(
                *self._get_workspace_clauses(SqlModelVersion),
                sa.tuple_(SqlModelVersion.name, SqlModelVersion.version).in_(numbers),
            )
            .options(*self._get_eager_model_version_query_options())
        )
        versions: dict[str, list[SqlModelVersion]] = {name: [] for name in model_names}
        for version in found:
            versions[version.name].append(version)
        return versions
