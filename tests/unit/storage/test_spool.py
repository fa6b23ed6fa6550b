"""The spool keeps what it was given, and nothing else."""

import os
from pathlib import Path

import pytest

from storage.spool import Spool, write_durably

SHA = "a" * 64


def test_what_is_put_is_there_byte_for_byte(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")

    path = spool.put("1.2.3", SHA, b"meta", b"data")

    assert path.read_bytes() == b"metadata"
    assert list(spool) == [path]


@pytest.mark.parametrize("uid", ["../../etc/passwd", "..", "/", "\\", "a" * 1000, "1.2\x003"])
def test_no_uid_leads_out_of_the_spool(tmp_path: Path, uid: str) -> None:
    spool = Spool(tmp_path / "spool")

    path = spool.put(uid, SHA, b"x")

    assert path.resolve().is_relative_to(spool.root.resolve())


def test_other_content_under_one_uid_has_a_file_of_its_own(tmp_path: Path) -> None:
    spool = Spool(tmp_path)

    first, second = spool.put("1.2.3", "a" * 64, b"one"), spool.put("1.2.3", "b" * 64, b"two")

    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_durably(tmp_path / "x" / "file.dcm", b"good", "no bytes")  # type: ignore[arg-type]

    assert list((tmp_path / "x").iterdir()) == []


def test_a_sweep_removes_what_a_crash_left(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    kept = spool.put("1.2.3", SHA, b"x")
    kept.with_name("half.dcm.abc.part").write_bytes(b"half")

    swept = spool.sweep()

    assert swept == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


def test_a_sweep_leaves_what_another_process_is_writing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    written = spool.put("1.2.3", SHA, b"x").with_name(f"file.dcm.{os.getppid()}.abc.part")
    written.write_bytes(b"half")

    assert spool.sweep() == 0
    assert written.exists()


def test_a_file_that_is_there_is_never_replaced_by_one_that_is_not_yet_on_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path)

    first, second = spool.put("1.2.3", SHA, b"x"), spool.put("1.2.3", SHA, b"x")

    assert first == second
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [first]


def test_files_of_an_earlier_version_move_to_their_place(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    path = spool.path_of("1.2.3", SHA)
    old = tmp_path / path.name[:2] / path.name
    old.parent.mkdir()
    old.write_bytes(b"x")

    spool.prepare()

    assert list(spool) == [path]


def test_a_write_that_fails_leaves_no_half_under_the_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path)

    with pytest.raises(TypeError):
        spool.put("1.2.3", SHA, b"good", "no bytes")  # type: ignore[arg-type]

    assert list(spool) == []
