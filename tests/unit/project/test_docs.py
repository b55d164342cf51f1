"""What the documents say is true of what is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import click
import pytest
import typer.main
import yaml
from pydantic import BaseModel

from podium.cli.main import app
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


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_anchors_exist(document: Path) -> None:
    for path, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
        target = document.parent / path if path else document
        assert anchor in anchors(target), f"{path}#{anchor}"


def commands(group: click.Command, name: str = "podium") -> Iterator[tuple[str, click.Command]]:
    yield name, group
    for part, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{name} {part}")


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_commands_and_their_options_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        pytest.skip("names commands of its day")
    text = document.read_text().replace("\\\n", " ")
    for line in re.findall(r"(?:`|^|\.venv/bin/)(podium [a-z][^`\n#|]*)", text, re.MULTILINE):
        words = line.split()
        name = next(
            (" ".join(words[:many]) for many in (3, 2) if " ".join(words[:many]) in COMMANDS),
            "no such command",
        )
        assert name in COMMANDS, line
        known = {option for one in COMMANDS[name].params for option in (*one.opts, *one.secondary_opts)}
        used = {word.split("=")[0].rstrip(".,;:)") for word in words if re.match(r"--[a-z]", word)}
        assert used - {"--help"} <= known, line


def test_each_page_is_in_the_sites_navigation_and_nothing_is_fetched_from_elsewhere() -> None:
    text = (PROJECT_ROOT / "mkdocs.yml").read_text()
    pages = re.findall(r"[\w/-]+\.md", text.partition("\nnav:")[2])
    here = {str(path.relative_to(PROJECT_ROOT / "docs")) for path in (PROJECT_ROOT / "docs").rglob("*.md")}
    assert sorted(pages) == sorted(here)
    settings = yaml.safe_load(text)
    assert settings["theme"]["font"] is False
    # With a fence of its own the theme would fetch Mermaid from elsewhere.
    assert "mermaid" not in text.lower()
    assert [shelf for entry in settings["nav"] for shelf in entry] == [
        "Home", "Use it", "Run it", "Understand it",
    ]  # fmt: skip


def test_one_version_stands_everywhere() -> None:
    version = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text())["version"] == version
    released = re.findall(r"^## \[(.+?)\] - ", (PROJECT_ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == version


def test_the_licence_of_each_data_file_is_named() -> None:
    notice = (PROJECT_ROOT / "NOTICE").read_text()
    names = {path.name for path in (PROJECT_ROOT / "include" / "data").iterdir()} - {"README.md"}
    assert {name for name in names if name not in notice} == set()


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
