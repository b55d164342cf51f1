"""The tasks of a lifecycle Dag: functions of the model file and of Airflow's context.

A TaskFlow function with arguments takes three times as long to make and to serialise, and there are eight of
them for each model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import BaseOperator, Context

from podium.model_file.spec import ModelSpec
from podium_airflow.failures import task_outcomes
from podium_airflow.runs import refuse_wrong_form


class LifecycleTask(BaseOperator):
    """A task that has the name of its function, and ends as ``task_outcomes`` says.

    Args:
        function: What it does; what it returns is for the tasks after it.
        spec: The model file.
        options: Airflow's.
    """

    def __init__(
        self, *, function: Callable[[ModelSpec, Context], Any], spec: ModelSpec, **options: Any
    ) -> None:
        super().__init__(task_id=function.__name__, **options)
        self.function, self.spec = function, spec

    def execute(self, context: Context) -> Any:
        """Do it; no task but a teardown, which only tells, works for a run whose form nobody reads whole."""
        with task_outcomes():
            if not self.is_teardown:
                refuse_wrong_form(context)
            return self.function(self.spec, context)
