"""Where the stack of the integration tests lives, and the toy project that it runs."""

from __future__ import annotations

import os

from podium.settings import PROJECT_ROOT

# Another name for a second run beside this one: `make test` runs the families on a stack of their own.
_NAME = os.environ.get("PODIUM_TEST_STACK", "")
HOME = PROJECT_ROOT / ".podium" / f"test-lifecycle{_NAME}"
PROJECT = PROJECT_ROOT / ".podium" / f"test-project{_NAME}"
MODELS = PROJECT / "include" / "models"
