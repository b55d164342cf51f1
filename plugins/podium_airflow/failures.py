"""How what Podium raises ends a task: refused is skipped, an outage is retried, all else fails at once."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from podium.errors import Outage, PodiumError, Refused
from podium_airflow.runs import refuse_wrong_form

log = logging.getLogger(__name__)

# 10 s, 20 s, 40 s, ... five minutes: about half an hour in all.
WAIT_OUT_AN_OUTAGE = {
    "retries": 9,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
}


def podium_task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a task of a function that ends as ``task_outcomes`` says; the options are Airflow's.

    No task works for a run whose form has keys that nobody reads.
    """

    def made(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            refuse_wrong_form(get_current_context())
            return function(*args, **kwargs)

        return task(**options)(task_outcomes()(checked))

    return made


@contextmanager
def task_outcomes() -> Iterator[None]:
    """Wrap a task's work; also usable as a decorator.

    Raises:
        AirflowSkipException: A gate or a person said no: the run ends cleanly.
        Outage: A part did not answer: Airflow retries the task.
        AirflowFailException: Anything else that Podium raises: a retry would not help.
    """
    try:
        yield
    except Refused as error:
        raise AirflowSkipException(error.with_code()) from error
    except Outage as error:
        # The message of its own, before the traceback that Airflow shows.
        log.error("%s", error.with_code())
        raise
    except PodiumError as error:
        raise AirflowFailException(error.with_code()) from error
