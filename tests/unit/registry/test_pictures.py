"""Pictures of a training run, read over HTTP."""

from __future__ import annotations

import pytest

from podium.errors import NotFound, Outage, PodiumError
from podium.registry.pictures import Reader
from support.answering import answering

PNG = b"\x89PNG\r\n\x1a\n and what belongs to it"
LIST, GET = "/api/2.0/mlflow/artifacts/list", "/get-artifact"
LOGIN = ("reader", "not-a-secret")


def test_only_pictures_are_listed_by_their_names() -> None:
    files = [
        {"path": "gates/v2-against-v1/slices_4.png", "is_dir": False},
        {"path": "gates/v2-against-v1/report.json", "is_dir": False},
        {"path": "gates/v2-against-v1/more.png", "is_dir": True},
        {"path": "gates/v2-against-v1/a b.png", "is_dir": False},
        {"path": "gates/v2-against-v1/calibration.png", "is_dir": False},
    ]
    with answering({LIST: {"files": files}}) as url:
        found = Reader(url, LOGIN).pictures("r1", "gates/v2-against-v1")
    assert found == ["calibration.png", "slices_4.png"]
    with answering({LIST: {}}) as url:
        assert Reader(url, LOGIN).pictures("r1", "") == []


@pytest.mark.parametrize("name", ["../model/MLmodel", "a/b.png", "..png", "x.svg", "", "a.png?run_uuid=r2"])
def test_what_is_no_name_of_a_picture_is_not_asked_for(name: str) -> None:
    with pytest.raises(NotFound, match="not the name of a picture"):
        Reader("http://127.0.0.1:1", LOGIN).picture("r1", "", name)


def test_a_picture_is_returned_and_nothing_else() -> None:
    with answering({GET: PNG}) as url:
        assert Reader(url, LOGIN).picture("r1", "", "calibration.png") == PNG
    with answering({GET: "<html>"}) as url, pytest.raises(NotFound, match="not a picture that can be shown"):
        Reader(url, LOGIN).picture("r1", "", "calibration.png")


@pytest.mark.parametrize(("status", "error"), [(500, Outage), (401, PodiumError), (404, NotFound)])
def test_an_outage_is_no_empty_list(status: int, error: type[PodiumError]) -> None:
    with answering({LIST: status}) as url, pytest.raises(error) as raised:
        Reader(url, LOGIN).pictures("r1", "")
    assert type(raised.value) is error
    with pytest.raises(Outage, match="did not answer"):
        Reader("http://127.0.0.1:1", LOGIN).pictures("r1", "")
