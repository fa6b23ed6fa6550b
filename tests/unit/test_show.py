"""What the command line prints: no peer's text becomes a formula, markup or a control character."""

import csv
import json

import pytest

from storage.schema import Event
from vb_node import show


def _event(peer: str) -> Event:
    return Event(seq=1, at=0.0, event="e", outcome="success", actor="a", peer=peer, details={"why": peer})


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@x", "\tx"])
def test_a_csv_cell_is_no_formula(capsys: pytest.CaptureFixture[str], text: str) -> None:
    show.events([_event(text)], "csv", 10)

    head, line = csv.reader(capsys.readouterr().out.splitlines())
    assert line[head.index("peer")][0] in {"'", " "}


def test_json_keeps_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show.events([_event("=cmd()")], "json", 10)

    assert json.loads(capsys.readouterr().out)[0]["peer"] == "=cmd()"


def test_markup_and_control_characters_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    show.table("t", ["c"], [["[red]x[/red]\x1b[31m"]])

    printed = capsys.readouterr().out
    assert "[red]x[/red]" in printed
    assert "\x1b" not in printed


def test_the_details_of_an_event_are_words_and_what_says_nothing_is_left_out() -> None:
    told = {"attempt": 1, "was": None, "weights": {"a": "1f", "b": "2e"}, "flags": [], "none": {}, "sha256": "3d"}

    said = show.details(Event(details=told), {"sha256"})

    assert said == "attempt 1, weights a 1f b 2e"
