"""Which files of a folder are model files, and what no entry of the folder can do to the others."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given

from podium.errors import SpecError
from podium.model_file import loading
from podium.model_file.document import Document
from podium.model_file.loading import load_spec, load_specs
from support.odd_files import ANY_FILE
from support.toy import TOY

ToyFile = Callable[..., Path]
NO_FILE = "is not a regular file; a model file is neither folder, FIFO nor device"


@pytest.mark.parametrize("name", [".toy.yaml", ".#toy.yaml", "#toy.yaml#", "toy.yaml~", "#t.yaml", "toy.txt"])
def test_what_an_editor_leaves_is_no_model_file(toy_file: ToyFile, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(toy_file().read_text())
    specs, errors = load_specs(tmp_path)
    assert (list(specs), errors) == (["toy"], [])


@pytest.mark.parametrize("name", ["other.yml", "other.YAML", "other.Yml"])
def test_a_file_that_is_called_otherwise_is_named(toy_file: ToyFile, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(toy_file(name="other").read_text())
    (tmp_path / "other.yaml").unlink()
    toy_file()
    specs, (error,) = load_specs(tmp_path)
    assert list(specs) == ["toy"]
    told = "is not read: a model file ends in .yaml; rename it to other.yaml"
    assert str(error) == f"{tmp_path / name}: {told}"


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Fail where reading waits for something that never comes."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, NO_FILE),
        (Path.mkdir, NO_FILE),
        (lambda path: path.symlink_to("/dev/zero"), NO_FILE),
        (lambda path: path.symlink_to("nowhere"), "cannot be read: No such file or directory"),
        (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels of symbolic links"),
    ],
    ids=["fifo", "folder", "device", "dangling", "circle"],
)
def test_only_a_regular_file_is_read(
    toy_file: ToyFile, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    toy_file()
    make(tmp_path / "odd.yaml")
    specs, (error,) = load_specs(tmp_path)
    assert list(specs) == ["toy"]
    assert str(error) == f"{tmp_path / 'odd.yaml'}: {said}"


def test_a_link_to_a_model_file_is_one(toy_file: ToyFile, tmp_path: Path) -> None:
    # As Kubernetes mounts a ConfigMap.
    (tmp_path / "..data").mkdir()
    toy_file().rename(tmp_path / "..data" / "toy.yaml")
    (tmp_path / "toy.yaml").symlink_to("..data/toy.yaml")
    specs, errors = load_specs(tmp_path)
    assert (list(specs), errors) == (["toy"], [])


def test_aliases_of_aliases_cost_nothing(toy_file: ToyFile) -> None:
    path = toy_file()
    levels = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for name, inner in zip("bcdefghi", "abcdefgh", strict=True):
        levels.append(f"{name}: &{name} [{', '.join([f'*{inner}'] * 10)}]")
    path.write_text(path.read_text().replace("params:", "params:\n  " + "\n  ".join(levels)))
    started = time.process_time()
    with pytest.raises(SpecError, match="anchor &a is not allowed"):
        load_spec(path)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", ["two\nlines", os.fsdecode(b"\xff"), "\x1b[2J"])
def test_a_message_is_one_line_that_airflow_can_keep(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.yaml").write_text('name: toy\n"\\u2028": 1\n"a\\nb": 1\n')
    (error,) = load_specs(tmp_path)[1]
    assert len(str(error).splitlines()) == len(error.problems)
    assert all(line.isprintable() for line in str(error).split("\n"))
    str(error).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    (made / "toy.yaml").write_text(yaml.safe_dump(TOY))
    return made


# Python warns of some regular expressions.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(content=ANY_FILE)
def test_whatever_one_file_holds_the_others_are_loaded(folder: Path, content: bytes) -> None:
    (folder / "odd.yaml").write_bytes(content)
    specs, errors = load_specs(folder)
    assert "toy" in specs
    assert len(specs) + len(errors) == 2
    for error in errors:
        assert error.path.name == "odd.yaml"
        assert len(str(error).splitlines()) == len(error.problems)
        assert all(problem.isprintable() for problem in error.problems)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose YAML is read from now on."""
    names: list[str] = []
    real = loading.read_document

    def read_document(path: Path) -> Document:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(loading, "read_document", read_document)
    return names


def written(folder: Path, *names: str) -> None:
    """Write model files as of a minute ago: a file of this moment is read again in any case."""
    for name in names:
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**TOY, "name": name}))
        os.utime(path, (time.time() - 60, time.time() - 60))


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, reads: list[str]) -> None:
    written(tmp_path, "one", "two", "three")
    (tmp_path / "wrong.yaml").write_text("name: wrong")
    first = load_specs(tmp_path)
    assert sorted(reads) == ["one.yaml", "three.yaml", "two.yaml", "wrong.yaml"]
    reads.clear()
    again = load_specs(tmp_path)
    assert reads == ["wrong.yaml"]
    assert again[0] == first[0]
    assert list(again[0]) == ["one", "three", "two"]
    # Another content of the same length and of the same moment.
    changed, moment = tmp_path / "two.yaml", (tmp_path / "two.yaml").stat().st_mtime_ns
    changed.write_text(changed.read_text().replace("A toy.", "No toy"))
    os.utime(changed, ns=(moment, moment))
    reads.clear()
    assert load_specs(tmp_path)[0]["two"].description == "No toy"
    assert sorted(reads) == ["two.yaml", "wrong.yaml"]


def test_a_file_that_was_written_just_now_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({**TOY, "name": "one"}))
    load_specs(tmp_path)
    load_specs(tmp_path)
    assert reads == ["one.yaml", "one.yaml"]


def test_a_name_that_another_file_takes_later_is_wrong_in_both(tmp_path: Path) -> None:
    written(tmp_path, "one", "two")
    assert list(load_specs(tmp_path)[0]) == ["one", "two"]
    written(tmp_path, "three")
    (tmp_path / "three.yaml").write_text((tmp_path / "one.yaml").read_text())
    specs, errors = load_specs(tmp_path)
    assert list(specs) == ["two"]
    assert [error.path.name for error in errors] == ["one.yaml", "three.yaml"]
    (tmp_path / "three.yaml").unlink()
    assert list(load_specs(tmp_path)[0]) == ["one", "two"]
