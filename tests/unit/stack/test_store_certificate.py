"""The object store's certificate and settings, without a store."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from podium.stack.layout import Paths, create_folders
from podium.stack.store_certificate import CERTIFICATE_FILE, SETTINGS_FILE, prepare, read

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    paths = Paths(tmp_path / "state")
    create_folders(paths)
    prepare(paths.run, NOW)
    return paths.run


def test_both_files_are_their_owners_alone(run: Path) -> None:
    assert run.stat().st_mode & 0o777 == 0o700
    for name in (CERTIFICATE_FILE, SETTINGS_FILE):
        assert (run / name).stat().st_mode & 0o777 == 0o600


def test_no_authority_is_left_that_could_sign_another(run: Path) -> None:
    certificate = read(run)
    certificate.verify_directly_issued_by(certificate)
    extensions = {one.value for one in certificate.extensions if one.oid._name == "basicConstraints"}
    assert [one.ca for one in extensions] == [False]


def test_every_part_that_talks_shows_the_certificate_and_asks_for_it(run: Path) -> None:
    settings = tomllib.loads((run / SETTINGS_FILE).read_text())
    shown = {"cert": CERTIFICATE_FILE, "key": CERTIFICATE_FILE}
    assert settings["grpc"].pop("ca") == CERTIFICATE_FILE
    assert settings["grpc"].keys() > {"master", "volume", "filer", "s3", "admin", "worker", "client"}
    assert list(settings["grpc"].values()) == [shown] * len(settings["grpc"])
    with_authority = {**shown, "ca": CERTIFICATE_FILE}
    assert settings["https"].pop("client") == {**with_authority, "enabled": True}
    assert settings["https"] == dict.fromkeys(["master", "volume", "filer", "admin"], with_authority)


def test_a_good_certificate_stays_and_one_that_ends_is_renewed_in_time(run: Path) -> None:
    first = read(run)
    prepare(run, NOW + timedelta(days=2900))
    assert read(run) == first
    prepare(run, NOW + timedelta(days=2950))
    second = read(run)
    assert second != first
    assert second.not_valid_after_utc > NOW + timedelta(days=2950 + 3600)


@pytest.mark.parametrize("harm", ["emptied", "readable", "other key", "no key", "not yet valid"])
def test_what_is_not_good_is_made_anew(run: Path, tmp_path: Path, harm: str) -> None:
    file = run / CERTIFICATE_FILE
    first = read(run)
    key, _, rest = file.read_text().partition("-----BEGIN CERTIFICATE-----")
    if harm == "emptied":
        file.write_text("")
    elif harm == "readable":
        file.chmod(0o640)
    elif harm == "other key":
        prepare(tmp_path, NOW)
        other = (tmp_path / CERTIFICATE_FILE).read_text().partition("-----BEGIN CERTIFICATE-----")[0]
        file.write_text(f"{other}-----BEGIN CERTIFICATE-----{rest}")
    elif harm == "no key":
        file.write_text(f"-----BEGIN CERTIFICATE-----{rest}")
    prepare(run, NOW - timedelta(days=30) if harm == "not yet valid" else NOW)
    assert read(run) != first
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in file.read_text()


def test_settings_that_somebody_changed_are_written_again(run: Path) -> None:
    (run / SETTINGS_FILE).write_text("")
    prepare(run, NOW)
    assert tomllib.loads((run / SETTINGS_FILE).read_text())["grpc"]["filer"]["key"] == CERTIFICATE_FILE
