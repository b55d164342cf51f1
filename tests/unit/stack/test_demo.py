"""How the demo is told: in one go, or a screen a step."""

from __future__ import annotations

import pytest
from rich.markdown import Markdown

from podium.stack import demo


def test_a_story_counts_its_screens_says_what_happens_and_gives_time_to_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    story = demo.Story()
    story.chapter("Train", "A model trains.")
    story.card(Markdown("the card\n\n![its state](x.svg)\n\nall gates"))
    shown = capsys.readouterr().out
    assert [
        line
        for line in ("1. Train", "A model trains.", "2. The approval card", "the card")
        if line not in shown
    ] == []
    assert "all gates" not in shown
    assert sum(waited) >= 2 * demo.READ_SECONDS


def test_without_the_story_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waits"))
    plain = demo.Demo()
    plain.chapter("Train", "A model trains.")
    plain.card(Markdown("the card\n\nall gates"))
    shown = capsys.readouterr().out
    assert "Train" in shown
    assert "all gates" in shown
    assert "A model trains." not in shown
