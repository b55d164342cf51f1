"""The forms by which people trigger Dags, one for each kind of Dag.

A Dag gets its form once its tasks are made. Of a form that is there before, Airflow gives each task a copy
and checks each copy's schema, which takes ten times as long as all else about the Dag; what a task reads from
``params`` is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.sdk import Param

from podium.model_file.approval import ApprovalSpec
from podium.model_file.spec import ModelSpec


def lifecycle_form(spec: ModelSpec) -> dict[str, Param]:
    """Return what a lifecycle run of a model can be asked for."""
    return {
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="As of",
            description="Train on what was known at this moment. Empty: now, or the date of a scheduled run.",
        ),
        "profile": Param(
            None,
            type=["null", "string"],
            enum=[None, *(profile.value for profile in spec.profiles)],
            values_display={"null": "no trial run: train on all data"},
            title="Trial run",
            description="A trial run trains on a sample of the data; its version is never promoted.",
        ),
        # Airflow's form marks as required what must not be null.
        "params": Param(
            {},
            type=["null", "object"],
            title="Params",
            description="Values that replace those under params in the model file, as JSON by name.",
        ),
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="Use this existing version instead of training, such as one that podium copy brought "
            "here; gates and approval still apply.",
        ),
        "mlflow_run": Param(
            None,
            type=["null", "string"],
            title="MLflow run",
            description="Use the model of this finished run instead of training; gates and approval still "
            "apply.",
        ),
    }


def approval_form(policy: ApprovalSpec) -> dict[str, Param]:
    """Return what an answer to an approval is asked for.

    Airflow marks the whole card as wrong while a field that must not be null is empty, and checks no length
    in this form: the door of answers does.
    """
    return {
        "reason": Param(
            None,
            type=["null", "string"],
            format="multiline",
            title="Reason",
            description=f"Why you approve or reject: at least {policy.reason_min_length} letters and digits. "
            "It is recorded.",
        ),
        **{name: Param(False, type="boolean", title=statement) for name, statement in policy.ticks.items()},
    }


def rollback_form(models: Iterable[str]) -> dict[str, Any]:
    """Return what a rollback asks for."""
    return {
        "model": Param(type="string", enum=list(models) or [""], title="Model"),
        "to_version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=2**31 - 1,
            title="To version",
            description="The number of a former champion. Empty: the previous champion.",
        ),
        "reason": _reason(),
        "force_version": Param(
            False,
            type=["null", "boolean"],
            title="Force version",
            description="Allow a version that was never champion. Only approvers of the model may do so; it "
            "is recorded.",
        ),
    }


def settle_form(models: Iterable[str]) -> dict[str, Any]:
    """Return what settling a champion that was moved outside Podium asks for."""
    return {
        "model": Param(type="string", enum=list(models) or [""], title="Model"),
        "settlement": Param(
            type="string",
            enum=["accept", "revert"],
            title="Settlement",
            description="accept: the live version becomes champion; revert: back to the recorded champion.",
        ),
        "reason": _reason(),
    }


def adopt_form(models: Iterable[str]) -> dict[str, Any]:
    """Return what adopting a registered model that was there before Podium asks for."""
    return {
        "model": Param(type="string", enum=list(models) or [""], title="Model"),
        "champion": Param(
            None,
            type=["null", "string"],
            title="Champion",
            description="An alias or a version, such as production or 7. Empty: the alias champion.",
        ),
        "from_stage": Param(
            None,
            type=["null", "string"],
            title="From stage",
            description="Instead of Champion: the stage whose one version is champion, such as Production.",
        ),
        "reason": _reason(),
    }


def hold_form(models: Iterable[str]) -> dict[str, Any]:
    """Return what a hold, its release or a restore from quarantine asks for."""
    return {
        "model": Param(type="string", enum=list(models) or [""], title="Model"),
        "version": Param(type="integer", minimum=1, maximum=2**31 - 1, title="Version"),
        "what": Param(
            type="string",
            enum=["hold", "release", "restore"],
            title="What",
            description="hold: never delete it; release: end the hold; restore: take it out of quarantine.",
        ),
        "reason": _reason(),
    }


def retire_form(models: Iterable[str]) -> dict[str, Any]:
    """Return what the end of a model asks for."""
    return {
        "model": Param(type="string", enum=list(models) or [""], title="Model"),
        "what": Param(
            "retire",
            type="string",
            enum=["retire", "undo"],
            title="What",
            description="retire: no run starts, and versions are deleted after a while; undo: it continues.",
        ),
        "reason": _reason(),
    }


def retention_form(models: Iterable[str]) -> dict[str, Any]:
    """Return what a run of retention can be asked for."""
    return {
        "model": Param(
            None,
            type=["null", "string"],
            enum=[None, *models],
            values_display={"null": "all"},
            title="Model",
            description="One model, or all that have a section retention.",
        ),
    }


def scoring_form() -> dict[str, Any]:
    """Return what a scoring run can be asked for."""
    return {
        "version": Param(
            None,
            type=["null", "string"],
            title="Version",
            description="champion, candidate, previous_champion or a number. Empty: the model file's alias.",
        ),
        "partitions": Param(
            "*",
            type="string",
            minLength=1,
            title="Partitions",
            description="Only partitions whose name fits this pattern, such as 2026-*; * takes all.",
        ),
        "allow_rolled_back": Param(
            False,
            type=["null", "boolean"],
            title="Allow rolled back",
            description="Also score with a version that a rollback replaced.",
        ),
    }


def _reason() -> Param:
    return Param(
        type="string",
        minLength=10,
        title="Reason",
        description="Why: at least 10 characters. It is recorded.",
    )
