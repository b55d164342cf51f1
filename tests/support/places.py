"""Where the stack of the integration tests lives, and the toy project that it runs."""

from __future__ import annotations

import os

from podium.settings import PROJECT_ROOT

# Another name for a second stack beside the first, with the shipped models alone: `make test` runs
# test_families there.
SECOND = os.environ.get("PODIUM_TEST_STACK", "")
HOME = PROJECT_ROOT / ".podium" / f"test-lifecycle{SECOND}"
PROJECT = PROJECT_ROOT / ".podium" / f"test-project{SECOND}"
MODELS = PROJECT / "include" / "models"
