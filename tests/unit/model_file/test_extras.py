"""A package that is not installed is named with the command that installs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from podium.errors import TrainerError
from podium.model_file import extras
from podium.model_file.extras import how_to_install
from podium.model_file.user_code import import_object, trainer_errors
from podium.registry import flavours
from podium.registry.model_files import load_model
from podium.settings import PROJECT_ROOT

COMMAND = r"Install it: `.venv/bin/uv pip install -r requirements-boost.txt`"


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named '{name}'", name=name)


def test_every_extra_is_a_file_that_make_lock_renews_or_pytorch() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    for extra in set(extras._EXTRAS.values()):
        assert (PROJECT_ROOT / f"requirements-{extra}.txt").is_file()
        assert extra == "torch" or (PROJECT_ROOT / f"requirements-{extra}.in").is_file()
        assert extra in makefile
    assert how_to_install("a_module_of_ours") == how_to_install(None) == ""


def test_a_trainer_that_imports_what_is_not_installed_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "boosted_trainer.py").write_text("import catboost.core\ndef train(): ...\n")
    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(
        TrainerError, match=rf"boosted_trainer:train' cannot be imported: .*catboost.*{COMMAND}"
    ):
        import_object("boosted_trainer:train")
    with pytest.raises(TrainerError, match=rf"No module named 'xgboost'. {COMMAND}"), trainer_errors("t:f"):
        raise missing("xgboost")


def test_a_model_that_needs_what_is_not_installed_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: str) -> None:
        raise missing("lightgbm.basic")

    monkeypatch.setattr(flavours, "load", load)
    with pytest.raises(ModuleNotFoundError, match=rf"No module named 'lightgbm.basic'. {COMMAND}"):
        load_model(tmp_path)
