"""Watermarks, and the reserve that is the ledger's alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.disk import Disk

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    disk = Disk(tmp_path, warn_at=1.0, stop_at=1.0, stop_free_bytes=0, reserve_bytes=MIB)
    disk.mend()
    return disk


def test_the_reserve_takes_the_space_that_it_keeps(disk: Disk) -> None:
    assert (disk.folder / "reserve").stat().st_blocks * 512 >= MIB


def test_a_disk_with_space_takes_more(disk: Disk) -> None:
    assert not disk.is_full()
    assert not disk.is_high()


@pytest.mark.parametrize("change", [{"stop_at": 0.00001}, {"stop_free_bytes": 1 << 60}])
def test_above_a_watermark_it_takes_nothing(disk: Disk, change: dict[str, float]) -> None:
    assert replace(disk, **change).is_full()


def test_the_reserve_is_not_given_up_while_there_is_space(disk: Disk) -> None:
    assert disk.spend() is False
    assert not disk.is_spent


def test_without_space_the_reserve_is_given_up_once_and_nothing_more_is_taken(disk: Disk) -> None:
    full = replace(disk, reserve_bytes=1 << 60)

    assert (full.spend(), full.spend()) == (True, False)
    assert full.is_spent
    assert full.is_full()
    assert full.mend() is False


def test_with_space_the_reserve_is_put_back(disk: Disk) -> None:
    (disk.folder / "reserve").unlink()

    assert disk.mend() is True
    assert not disk.is_full()
