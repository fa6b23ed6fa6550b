"""A new file holds what was written, past the kernel's cache or through it."""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.blocks import BLOCK, write_new

NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """Open a new file."""
    opened = os.open(tmp_path / "new", NEW)
    yield opened
    os.close(opened)


@pytest.mark.parametrize(
    "lengths", [(0,), (1,), (BLOCK,), (300, BLOCK - 300), (BLOCK, 3), (7, 200 * BLOCK - 7), (64 * BLOCK, 64 * BLOCK)]
)
def test_pieces_of_any_length_are_written_one_after_the_other(
    tmp_path: Path, descriptor: int, lengths: tuple[int, ...]
) -> None:
    pieces = [os.urandom(length) for length in lengths]

    write_new(descriptor, pieces)

    assert (tmp_path / "new").read_bytes() == b"".join(pieces)


def test_whole_blocks_go_past_the_cache(descriptor: int) -> None:
    write_new(descriptor, [bytes(BLOCK)])

    assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT


def test_a_disk_that_wants_other_blocks_gets_the_file_through_the_cache(tmp_path: Path, descriptor: int) -> None:
    os.lseek(descriptor, 1, os.SEEK_SET)  # no block begins here: the kernel refuses, as such a disk does

    write_new(descriptor, [b"x" * BLOCK])

    assert (tmp_path / "new").read_bytes() == b"x" * BLOCK


def test_a_descriptor_that_cannot_go_past_the_cache_is_written_to(tmp_path: Path) -> None:
    here, there = socket.socketpair()
    with here, there:
        write_new(here.fileno(), [b"x" * BLOCK])

        assert there.recv(2 * BLOCK) == b"x" * BLOCK


def test_a_full_disk_is_told_of() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
        write_new(full.fileno(), [bytes(BLOCK)])
