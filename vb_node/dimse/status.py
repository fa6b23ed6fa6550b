"""DIMSE statuses: what the node answers, and what it makes of an answer (PS3.4 table B.2-1, PS3.7 annex C)."""

from typing import Literal

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
DUPLICATE = 0x0111
CLASS_NOT_SUPPORTED = 0x0122
UNRECOGNISED_OPERATION = 0x0211
MISTYPED_ARGUMENT = 0x0212
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700
TOO_LARGE = 0xA702

_STORED_WITH_WARNING = {0xB000, 0xB006, 0xB007}


def meaning(status: int) -> Literal["stored", "busy", "refused"]:
    """Say what a storage SCP's answer means for the sender: done, try again soon, or a person should look."""
    if status == SUCCESS or status in _STORED_WITH_WARNING:
        return "stored"
    if status >> 8 == 0xA7 or status in {PROCESSING_FAILURE, RESOURCE_LIMITATION}:
        return "busy"
    return "refused"
