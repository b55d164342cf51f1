"""The document on security tells of each secret of both stacks how it is rotated."""

from __future__ import annotations

import re
import runpy

from podium.settings import PROJECT_ROOT
from podium.stack.layout import Secrets


def test_every_secret_is_in_the_table() -> None:
    text = (PROJECT_ROOT / "docs" / "security.md").read_text().partition("### Rotation")[2]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")][1:]
    embedded = [name for row in rows for name in re.findall("`(.+?)`", row[1])]
    containers = [name for row in rows for name in re.findall("`(.+?)`", row[2])]
    assert sorted(embedded) == sorted(Secrets.model_fields)
    assert sorted(containers) == sorted(runpy.run_path(str(PROJECT_ROOT / "deploy/make_env.py"))["SECRETS"])
    assert all(row[3].strip() for row in rows)
