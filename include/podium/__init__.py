"""Podium: takes a model from training data to the version that serves, and back again when it must."""

import os

# As in deploy/common.env. Arrow's own allocator keeps much of what it frees; the system's gives it back.
# It is chosen as Arrow is loaded: https://arrow.apache.org/docs/cpp/env_vars.html
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
