from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import DiskFull
from podium.registry.client import Registry
from podium.registry.manifest import File, Manifest, differences, downloaded, read_manifest

MODEL = File("model.skops", 1234, "a" * 64)
CODE = File("code/part.py", 7, "b" * 64)
LOADER = File("MLmodel", 99, "c" * 64)

paths = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
files = st.builds(File, paths, st.integers(0, 2**40), digests)
manifests = st.lists(files, max_size=6, unique_by=lambda file: file.path).map(
    lambda found: Manifest(tuple(sorted(found, key=lambda file: file.path)))
)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ((MODEL, CODE, LOADER), []),
        ((LOADER, CODE, MODEL), []),
        ((MODEL, LOADER), ["code/part.py is missing"]),
        ((MODEL, CODE, LOADER, File("code/evil.py", 1, "d" * 64)), ["code/evil.py was added"]),
        (
            (replace(MODEL, sha256="e" * 64), CODE, LOADER),
            [
                "model.skops differs (1,234 bytes, sha256 eeeeeeeeeeee; registered with 1,234 bytes, "
                "aaaaaaaaaaaa)"
            ],
        ),
        (
            (replace(MODEL, size=5), CODE, LOADER),
            ["model.skops differs (5 bytes, sha256 aaaaaaaaaaaa; registered with 1,234 bytes, aaaaaaaaaaaa)"],
        ),
        (
            (replace(MODEL, path="model.pkl"), CODE, LOADER),
            ["model.pkl was added", "model.skops is missing"],
        ),
        ((), ["MLmodel is missing", "code/part.py is missing", "model.skops is missing"]),
    ],
)
def test_what_differs_is_said_file_by_file(now: tuple[File, ...], expected: list[str]) -> None:
    assert differences(Manifest((MODEL, CODE, LOADER)), Manifest(now)) == expected


@given(manifests)
def test_a_manifest_does_not_differ_from_itself(manifest: Manifest) -> None:
    assert differences(manifest, manifest) == []
    again = Manifest.from_json(manifest.as_json())
    assert again == manifest
    assert again.digest() == manifest.digest()


@given(manifests, st.data())
def test_any_single_change_is_named_and_changes_the_digest(manifest: Manifest, data: st.DataObject) -> None:
    changes: list[Callable[[], tuple[str, Manifest]]] = [lambda: add(manifest, data)]
    if manifest.files:
        changes += [lambda: remove(manifest, data), lambda: change(manifest, data)]
    said, changed = data.draw(st.sampled_from(changes))()
    (found,) = differences(manifest, changed)
    assert found.startswith(said)
    assert manifest.digest() != changed.digest()


def add(manifest: Manifest, data: st.DataObject) -> tuple[str, Manifest]:
    known = {file.path for file in manifest.files}
    added = data.draw(files.filter(lambda file: file.path not in known))
    return f"{added.path} was added", Manifest((*manifest.files, added))


def remove(manifest: Manifest, data: st.DataObject) -> tuple[str, Manifest]:
    gone = data.draw(st.sampled_from(manifest.files))
    return f"{gone.path} is missing", Manifest(tuple(file for file in manifest.files if file != gone))


def change(manifest: Manifest, data: st.DataObject) -> tuple[str, Manifest]:
    old = data.draw(st.sampled_from(manifest.files))
    new = data.draw(
        st.builds(File, st.just(old.path), st.just(old.size) | st.integers(0, 99), digests).filter(
            lambda file: file != old
        )
    )
    return f"{old.path} differs", Manifest(tuple(new if file == old else file for file in manifest.files))


def write(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def test_every_file_of_every_folder_is_read(tmp_path: Path) -> None:
    write(tmp_path, ["MLmodel", "a/b/c.bin", "a/b.txt", "a.txt", "ä ö"])
    (tmp_path / "a" / "empty").mkdir()
    (tmp_path / "nothing").write_bytes(b"")
    manifest = read_manifest(tmp_path)
    assert {file.path for file in manifest.files} == {
        "MLmodel",
        "a/b/c.bin",
        "a/b.txt",
        "a.txt",
        "nothing",
        "ä ö",
    }
    of_a_file = next(file for file in manifest.files if file.path == "a/b/c.bin")
    assert of_a_file == File("a/b/c.bin", 9, hashlib.sha256(b"a/b/c.bin").hexdigest())
    assert all(file.size == (tmp_path / file.path).stat().st_size for file in manifest.files)


def test_the_order_in_which_files_were_written_does_not_matter(tmp_path: Path) -> None:
    names = ["MLmodel", "b/x", "a/y", "a-b", "z"]
    one, other = write(tmp_path / "one", names), write(tmp_path / "other", names[::-1])
    assert read_manifest(one) == read_manifest(other)
    assert read_manifest(one).digest() == read_manifest(other).digest()


def test_an_empty_folder_has_an_empty_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == Manifest(())


def test_a_copy_that_does_not_fit_is_not_begun(mlflow_uri: str, tmp_path: Path) -> None:
    huge = Manifest((File("model.skops", 2**60, "a" * 64), MODEL))
    with (
        pytest.raises(DiskFull) as full,
        downloaded(Registry(mlflow_uri), "toy", 3, huge, tmp_path),
    ):
        pass
    assert str(full.value).startswith(
        f"copying the files of toy v3: the disk is full at {tmp_path}: "
        "1,152,921,504,606,851,072 bytes are needed"
    )
    assert list(tmp_path.iterdir()) == []
