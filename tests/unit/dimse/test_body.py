"""The data set of an instance while it comes: in memory, or in a file that has no name."""

from mmap import mmap
from pathlib import Path
from random import Random

import pytest

from storage.blocks import WINDOW, windows
from vb_node.dimse.body import IN_MEMORY, Body

PIECE = 16_000


def _body(content: bytes, folder: Path | None) -> Body:
    body = Body(folder)
    for start in range(0, len(content), PIECE):
        body.add(memoryview(content)[start : start + PIECE])
    return body


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 2 * IN_MEMORY + WINDOW + 17])
def test_a_body_gives_what_came_and_leaves_no_file(tmp_path: Path, size: int) -> None:
    content = Random(1).randbytes(size)

    body = _body(content, tmp_path)
    given = body.content()
    body.close()

    assert isinstance(given, mmap) is (size > IN_MEMORY)
    assert b"".join(windows(given)) == content
    assert given[:] == content
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_all_stays_in_memory() -> None:
    content = bytes(IN_MEMORY + 1)

    assert _body(content, None).content() == content
