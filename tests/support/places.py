"""Where the stack of the integration tests lives, and the toy project that it runs."""

from __future__ import annotations

from podium.settings import PROJECT_ROOT

HOME = PROJECT_ROOT / ".podium" / "test-lifecycle"
PROJECT = PROJECT_ROOT / ".podium" / "test-project"
MODELS = PROJECT / "include" / "models"
TRAINERS = PROJECT / "include" / "trainers"
