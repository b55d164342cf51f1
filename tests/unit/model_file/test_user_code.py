"""The functions and files of users: found without an import, and refused outside the project."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from podium.errors import TrainerError
from podium.model_file.loading import load_specs
from podium.model_file.user_code import code_file, function_problem, import_object
from podium.operations.check_model_files import check_files
from podium.settings import PROJECT_ROOT
from support.model_files import line_of, profile

HOME_OF_TRAINERS = "trainers live in include/trainers/"
INSTALLED = f"is of an installed package, outside the project; {HOME_OF_TRAINERS}"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the user's own, whose import would fail."""
    folder = tmp_path / "acme_models" / "inner"
    folder.mkdir(parents=True)
    for place in (folder, folder.parent):
        (place / "__init__.py").write_text("raise SystemExit('imported')\n")
    (folder / "house.py").write_text(
        "from x import fit as train_later\nimport y\nif True:\n    def train(): ...\nother = make()\n"
    )
    (folder / "broken.py").write_text("def train(:\n")
    (folder / "native.so").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize(
    "path",
    [
        "acme_models.inner.house:train",
        "acme_models.inner.house:train_later",
        "acme_models.inner.house:other",
        "support.toy_trainer:train",
        "trainers.soccer_match_outcome:train",
    ],
)
@pytest.mark.usefixtures("package")
def test_a_function_of_the_users_is_found_without_an_import(path: str) -> None:
    loaded = set(sys.modules)
    assert function_problem(path) == ""
    assert [name for name in set(sys.modules) - loaded if name.startswith(("acme", "trainers"))] == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere.to:be", f"there is no module nowhere.to; {HOME_OF_TRAINERS}"),
        ("acme_models.nowhere:train", f"there is no module acme_models.nowhere; {HOME_OF_TRAINERS}"),
        ("acme_models.inner.house.train:me", "there is no module acme_models.inner.house.train; "),
        ("acme_models.inner.house:y", "the module acme_models.inner.house has no function 'y'"),
        ("acme_models.inner.house:tarin", "the module acme_models.inner.house has no function 'tarin'"),
        ("acme_models.inner.broken:train", "broken.py cannot be read: "),
        ("support:train", f"the module support is not a Python file; {HOME_OF_TRAINERS}"),
        ("marshal:loads", INSTALLED),
        ("pandas:read_pickle", INSTALLED),
        ("pandas.io.pickle:read_pickle", INSTALLED),
    ],
)
@pytest.mark.usefixtures("package")
def test_a_function_that_is_none_of_the_users_is_explained(path: str, problem: str) -> None:
    assert problem in function_problem(path)


def test_a_function_of_a_package_is_not_imported() -> None:
    with pytest.raises(TrainerError, match=r"'pip:main' is of an installed package, outside the project"):
        import_object("pip:main")


def test_the_check_of_model_files_finds_the_functions_of_every_key(
    tmp_path: Path, toy_file: Callable[..., Path]
) -> None:
    own = {"metric": "nowhere:profit", "greater_is_better": True, "threshold": 5}
    path = toy_file(
        trainer="nowhere.to:be",
        data__examples="nowhere:examples",
        scoring={"source": "new", "output": "scores", "inputs": "nowhere:inputs"},
        gates=[{"min_holdout_rows": 5}, own],
        code=["nowhere.py"],
        **profile(gates=[dict(own)]),
    )
    assert load_specs(tmp_path)[1] == []
    problems, _ = check_files([tmp_path, path])
    keys = [
        "trainer",
        "data.examples",
        "scoring.inputs",
        "gates[1].metric",
        "profiles.ci-smoke.gates[0].metric",
    ]
    assert [problem.split(": ")[2] for problem in problems] == [*keys, "code"]
    line = line_of(path, "trainer:")
    told = f"trainer: 'nowhere.to:be': there is no module nowhere.to; {HOME_OF_TRAINERS}"
    assert problems[0] == f"{path}: line {line}: {told}"


def test_a_code_file_is_a_regular_file_of_the_project(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "own.py").write_text("")
    (home / "link.py").symlink_to("own.py")
    assert code_file(home, "link.py") == home / "link.py"
    assert code_file(home, str(PROJECT_ROOT / "README.md")) == PROJECT_ROOT / "README.md"
    (home / "out.py").symlink_to(tmp_path)
    with pytest.raises(TrainerError, match=r"code: out.py leads out of the project, to "):
        code_file(home, "out.py")
    os.mkfifo(home / "fifo.py")
    with pytest.raises(TrainerError, match=r"code: fifo.py is not a regular file"):
        code_file(home, "fifo.py")
    with pytest.raises(TrainerError, match=r"nowhere.py cannot be read: No such file"):
        code_file(home, "nowhere.py")
