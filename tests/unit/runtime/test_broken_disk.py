"""A disk that fails at any one call (R-13): every call that writes is numbered, and each fails once."""

import errno
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pdu import encoded
from pydicom import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import text
from stations import House, series_of

from storage import associations
from vb_node.dimse import status
from vb_node.errors import Refused
from vb_node.pipeline.application import installed
from vb_node.runtime.receive import is_intact

CALLS = ("open", "mkdir", "write", "writev", "fsync", "rename", "unlink")
FEWEST_CALLS = 3  # of one instance in a folder that is there: open, write, fsync


class BrokenDisk:
    """Lets the calls through to the disk up to a number, and fails that one, or all from there."""

    def __init__(self, number: int, code: int, *, for_good: bool) -> None:
        self.number, self.code, self.for_good = number, code, for_good
        self.calls: list[str] = []

    def layer(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) == self.number or (self.for_good and len(self.calls) > self.number):
                raise OSError(self.code, os.strerror(self.code))
            return act(*words, **named)

        return call

    @property
    def has_failed(self) -> bool:
        return len(self.calls) >= self.number

    @property
    def was_synced_again(self) -> bool:
        """Whether a sync that had failed was tried again: the pages may be gone and it would succeed."""
        return self.has_failed and self.calls[self.number - 1] == "fsync" and "fsync" in self.calls[self.number :]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, installed())
    yield made
    made.receiver.close()
    made.database.close()


def _answer(house: House, dataset: Dataset) -> int:
    try:
        house.send([dataset])
    except Refused as refused:
        return refused.status
    return status.SUCCESS


def _is_kept(house: House, dataset: Dataset) -> bool:
    """Say whether the instance's file is whole, by the digest that the ledger holds."""
    (event,) = [one for one in house.events("instance received") if one.sop_instance_uid == dataset.SOPInstanceUID]
    sha256 = event.details["sha256"]
    return is_intact(house.spool.path_of(dataset.SOPInstanceUID, sha256), sha256)


def _tear(house: House, dataset: Dataset) -> None:
    """Leave half a file under the instance's name, as a crash does."""
    path = house.spool.path_of(dataset.SOPInstanceUID, hashlib.sha256(encoded(dataset)).hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")


def _broken(disk: BrokenDisk, act: Callable[[], int]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, disk.layer(name, getattr(os, name)))
        return act()


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for_good"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("is_torn", [False, True], ids=["new", "over_a_torn_file"])
def test_r_13_a_call_that_fails_is_answered_a700_and_the_instance_can_come_again(
    house: House, code: int, for_good: bool, is_torn: bool
) -> None:
    answers = []
    for number, dataset in zip(itertools.count(1), series_of(generate_uid(), slices=40)):
        if is_torn:
            _tear(house, dataset)
        disk = BrokenDisk(number, code, for_good=for_good)

        answers.append(_broken(disk, partial(_answer, house, dataset)))
        again = _answer(house, dataset)

        assert not disk.was_synced_again
        assert again == status.SUCCESS
        assert _is_kept(house, dataset)
        if not disk.has_failed:
            break

    assert set(answers[:-1]) == {status.OUT_OF_RESOURCES}
    assert answers[-1] == status.SUCCESS
    assert len(answers) > FEWEST_CALLS
    assert len(house.events("instance refused")) == len(answers) - 1


def test_an_association_that_ends_while_the_ledger_fails_is_known_to_have_ended(house: House) -> None:
    house.send(series_of("1.2", 1), "sender", is_over=False)
    with house.database.write() as session:
        session.execute(text("ALTER TABLE events RENAME TO elsewhere"))
    house.receiver.tell_rejection("STRANGER", "127.0.0.1", "unknown")  # the first that the ledger does not take
    house.receiver.settle()
    house.receiver.end("sender", is_released=True)
    with house.database.write() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO events"))
    while not house.events("association rejected"):
        house.receiver.settle()
    house.receiver.settle()

    with house.database.read() as session:
        (sender,) = associations.get(session, {"sender"})
    assert (sender.ended_at is not None, sender.is_released) == (True, True)
