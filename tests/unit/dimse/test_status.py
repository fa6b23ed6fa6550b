"""What an answer means for the sender (PS3.4 table B.2-1)."""

import pytest

from vb_node.dimse.status import meaning


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0x0000, "stored"),
        (0xB000, "stored"),
        (0xB006, "stored"),
        (0xB007, "stored"),
        (0xA700, "busy"),
        (0xA702, "busy"),
        (0x0110, "busy"),
        (0x0213, "busy"),
        (0xA900, "refused"),
        (0xC000, "refused"),
        (0x0111, "refused"),
        (0x0122, "refused"),
        (0x0124, "refused"),
        (0x1234, "refused"),
    ],
)
def test_a_status_is_done_for_now_or_for_good(status: int, expected: str) -> None:
    assert meaning(status) == expected
