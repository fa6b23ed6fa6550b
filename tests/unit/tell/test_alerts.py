"""Lookout and messengers: each change arrives, however often a channel fails or the station starts anew."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from outbox import BEGIN, Outbox

from storage import outages, stations
from storage.disk import Disk
from storage.schema import Notice
from vb_node.config import build
from vb_node.errors import Later
from vb_node.tell.alerts import LONGEST_WAIT_S, LOOK_S, SECOND_TRY_S, Lookout, Messenger
from vb_node.tell.pause import Pause


class Duty:
    """Those on duty, who cannot always be reached."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked = 0
        self.heard: list[str] = []

    def send(self, notices: Sequence[Notice]) -> None:
        self.asked += 1
        if self.is_away:
            raise Later("nobody answers")
        self.heard += [f"{one.change} {one.kind} {one.subject}" for one in notices]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path)


def _lookout(outbox: Outbox, *wanted: str) -> Lookout:
    hook = {"url": "https://duty/x", "secret_file": "secret"}
    settings = build({"alerts": {"down_min": 0, "webhook": hook}, "destinations": [{"name": "pacs", "ae_title": "P"}]})
    disk = Disk(outbox.results, warn_at=1.0, stop_at=1.0, stop_free_bytes=0)
    disk.mend()
    assert settings.alerts is not None
    lookout = Lookout(outbox.database, settings, settings.alerts, disk, ["duty"], wanted)
    lookout.step(BEGIN - 2 * LOOK_S)  # only begins
    return lookout


def _down(outbox: Outbox, now: float) -> None:
    with outbox.database.write() as session:
        outages.keep(session, "pacs", "no route", now=now)


def _up(outbox: Outbox, now: float) -> None:
    with outbox.database.write() as session:
        outages.end(session, "pacs", now=now)


def test_a_condition_is_told_when_it_begins_and_when_it_ends(outbox: Outbox) -> None:
    lookout, duty = _lookout(outbox), Duty()
    messenger = Messenger(outbox.database, "duty", duty)

    for turn in range(6):
        now = BEGIN + turn * LOOK_S
        if turn == 1:
            _down(outbox, now)
        if turn == 4:
            _up(outbox, now)
        lookout.step(now)
        messenger.step(now)

    assert duty.heard == ["raised destination down pacs", "cleared destination down pacs"]


def test_a_station_that_dies_again_and_again_is_told_and_one_that_was_started_again_is_not(outbox: Outbox) -> None:
    lookout, duty = _lookout(outbox, "deliver", "web", "work"), Duty()
    messenger = Messenger(outbox.database, "duty", duty)

    for turn in range(10):
        now = BEGIN + turn * LOOK_S
        began = {"deliver 1": now - 1 if 2 <= turn < 5 else BEGIN - 60, "work 1": now - 1 if turn == 3 else BEGIN - 60}
        with outbox.database.write() as session:
            for name, since in began.items():
                stations.hear(session, name, since=since, now=now)
            stations.hear(session, "receive web", since=BEGIN - 60, now=min(now, BEGIN + 2 * LOOK_S))
        lookout.step(now)
        messenger.step(now)

    assert duty.heard == [
        "raised station down deliver",
        "cleared station down deliver",
        "raised station down web",
    ]


def test_what_nobody_heard_is_told_again_also_by_a_station_that_starts_anew(outbox: Outbox) -> None:
    duty = Duty()
    duty.is_away = True
    _down(outbox, BEGIN)
    _lookout(outbox).step(BEGIN)
    first = Messenger(outbox.database, "duty", duty)
    was_heard = first.step(BEGIN)
    _up(outbox, BEGIN + LOOK_S)
    _lookout(outbox).step(BEGIN + LOOK_S)

    duty.is_away = False
    Messenger(outbox.database, "duty", duty).step(BEGIN + LOOK_S)
    is_heard_again = Messenger(outbox.database, "duty", duty).step(BEGIN + 2 * LOOK_S)

    assert not was_heard
    assert duty.heard == ["raised destination down pacs", "cleared destination down pacs"]
    assert not is_heard_again


def test_a_channel_that_fails_is_tried_slower_and_slower(outbox: Outbox) -> None:
    duty = Duty()
    duty.is_away = True
    _down(outbox, BEGIN)
    _lookout(outbox).step(BEGIN)
    messenger, tried = Messenger(outbox.database, "duty", duty), []

    for second in range(0, 3000, 5):
        before = duty.asked
        messenger.step(BEGIN + second)
        tried += [second] * (duty.asked - before)

    waits = [later - earlier for earlier, later in zip(tried, tried[1:], strict=False)]
    assert waits[:3] == [SECOND_TRY_S, 2 * SECOND_TRY_S, 4 * SECOND_TRY_S]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_S


def test_a_clock_that_is_set_back_ends_a_pause() -> None:
    pause = Pause()
    pause.begin(BEGIN, 60.0)

    assert pause.holds(BEGIN + 59)
    assert not pause.holds(BEGIN + 60)
    assert not pause.holds(BEGIN - 1)
