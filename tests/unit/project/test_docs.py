"""What the documents say is true of what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

from podium.model_file.reference import key_table, with_key_table
from podium.model_file.spec import ModelSpec
from podium.settings import PROJECT_ROOT

DOCUMENTS = [*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").rglob("*.md")]
MODEL_FILE = (PROJECT_ROOT / "docs" / "model-file.md").read_text()


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        for section in (field.annotation, *get_args(field.annotation)):
            if isinstance(section, type) and issubclass(section, BaseModel):
                of_each = "NAME." if get_origin(field.annotation) is dict else ""
                yield from keys(section, f"{prefix}{name}.{of_each}")
                break
        else:
            yield prefix + name


def test_every_key_of_the_model_file_is_documented() -> None:
    documented = set(re.findall(r"^\| `([\w.]+)` \|", MODEL_FILE, re.MULTILINE))
    assert documented == set(keys(ModelSpec))


def test_the_table_of_keys_is_the_one_of_the_code() -> None:
    write = (
        "PYTHONPATH=include .venv/bin/python -c \"from pathlib import Path; p = Path('docs/model-file.md'); "
        'from podium.model_file.reference import with_key_table as t; p.write_text(t(p.read_text()))"'
    )
    assert with_key_table(MODEL_FILE) == MODEL_FILE, f"{key_table()}\n\nTo write it: {write}"


def test_a_cell_of_the_table_of_keys_has_at_most_20_words() -> None:
    cells = [cell for row in key_table().splitlines() for cell in row.split("|")]
    assert [cell for cell in cells if len(cell.split()) > 20] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_links_lead_somewhere_and_make_targets_exist(document: Path) -> None:
    text = document.read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (document.parent / link).exists(), link
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"(?:`|^|\$ )make ([a-z][a-z-]*)", text, re.MULTILINE))
    assert used <= targets


def test_every_test_that_a_guarantee_names_is_there() -> None:
    table = (PROJECT_ROOT / "docs" / "guarantees.md").read_text().split("## What is not promised")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        *_, tests = row.strip("| ").split(" | ")
        named = re.findall(r"`(\w+/test_\w+)(?:::(test_\w+))?`", tests)
        assert named, row
        for file, name in named:
            (path,) = (PROJECT_ROOT / "tests").glob(f"**/{file}.py")
            source = path.read_text()
            assert f"def {name or 'test_'}" in source, f"{file}::{name}"
