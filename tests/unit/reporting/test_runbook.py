"""Each error has its entry in the runbook, and each entry its error."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from podium import errors
from podium.cli.main import app
from podium.errors import PodiumError
from podium.reporting.runbook import RUNBOOK, entries

CODES = {
    kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PodiumError)
}


def test_each_code_has_one_entry_and_no_entry_is_of_no_code() -> None:
    headings = re.findall(r"^### (.*)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(CODES)
    assert entries().keys() == CODES
    assert all(len(text) > 60 for text in entries().values())


@pytest.mark.parametrize("code", ["PODIUM-FROZEN", "frozen", "[PODIUM-FROZEN]"])
def test_a_code_is_explained(code: str) -> None:
    done = CliRunner().invoke(app, ["explain", code])
    assert done.exit_code == 0
    assert "settle_champion" in done.stdout


def test_a_code_that_is_none_names_one_that_is_near() -> None:
    done = CliRunner().invoke(app, ["explain", "FROSEN"])
    assert done.exit_code == 1
    assert "did you mean PODIUM-FROZEN?" in " ".join(done.stderr.split())
