"""Raises the share of an approved version step by step, and waits between steps without a worker."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from podium.errors import PodiumError, RampEnded
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium_airflow.failures import task_outcomes
from podium_airflow.notes import leave_note
from podium_airflow.runs import refuse_wrong_form, run_reference
from podium_airflow.watching import LOOK_SECONDS, WatchTrigger

if TYPE_CHECKING:
    from podium.services import Services

log = logging.getLogger(__name__)


class RampTrigger(WatchTrigger):
    """Looks every few seconds whether the ramp of a run goes a step up, stops or ends.

    Args:
        model: The registered model.
        lifecycle_run: The run, as ``dag_id/run_id``.
        seconds: Between two looks.
    """

    def __init__(self, model: str, lifecycle_run: str, seconds: float = LOOK_SECONDS) -> None:
        super().__init__(seconds)
        self.model, self.lifecycle_run = model, lifecycle_run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Say how Airflow makes it again."""
        asked = {"model": self.model, "lifecycle_run": self.lifecycle_run, "seconds": self.seconds}
        return "podium_airflow.ramping.RampTrigger", asked

    def is_due(self, services: Services) -> bool:
        """Whether the task has something to do."""
        from podium.monitoring.ramp import ramp_is_due

        return ramp_is_due(services, self.model, self.lifecycle_run)


class RampSensor(BaseOperator):
    """Begins the ramp of what a run's decision approved, and raises its share while nothing is bad.

    It ends well where the last step did; the promotion follows. One that stopped waits for a person.

    Args:
        spec: The model file, with a section ``ramp``.
    """

    def __init__(self, *, spec: ModelSpec, **options: Any) -> None:
        super().__init__(task_id="ramp", **options)
        self.spec = spec

    def execute(self, context: Context) -> None:
        """Begin, or go on; wait if nothing ended it."""
        from podium.lifecycle.ramped import GOOD, ramp_terms
        from podium.monitoring.ramp import begin_ramp, current_ramp, step_ramp
        from podium.services import connect

        with task_outcomes():
            refuse_wrong_form(context)
            services, model, run = connect(), self.spec.name, run_reference(context)
            terms, section = ramp_terms(self.spec), self.spec.ramp
            if terms is None or section is None:
                raise PodiumError(f"{model}: the model file no longer has a section ramp; clear this task")
            if begin_ramp(services, model, run, terms, section.steps) is None:
                log.info("%s has no champion: there is nothing to raise a share beside.", model)
                return
            if (ended := step_ramp(services, model, run)) is not None:
                if ended.details["said"] != GOOD:
                    raise RampEnded(f"{model} {version_name(ended.version)}: its ramp went {ended.reason}")
                log.info("%s: the ramp is over, %s.", model, ended.reason)
                return
            if (ramp := current_ramp(services.ledger, model)) is not None:
                leave_note(context, str(ramp))
                log.info("%s: %s.", model, ramp)
        self.defer(trigger=RampTrigger(model, run, LOOK_SECONDS), method_name="look_again")
        raise AssertionError("a waiting task does not continue")

    def look_again(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002 - Airflow's signature
        """Look again after the trigger saw something to do."""
        self.execute(context)


def end_ramp(context: Context, spec: ModelSpec) -> None:
    """Take the share back to 0 where a run ends without a promotion."""
    from podium.monitoring.ramp import end_unfinished
    from podium.services import connect

    end_unfinished(connect(), spec.name, run_reference(context))
