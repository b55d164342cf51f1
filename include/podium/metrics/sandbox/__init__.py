"""Code that a model wrote is run here, where it can do no harm.

Trainers import from here what a task is and how its references are checked.
"""

from podium.metrics.sandbox.judge import CodeTask, check_references

__all__ = ["CodeTask", "check_references"]
