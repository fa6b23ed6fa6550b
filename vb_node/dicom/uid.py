"""UIDs that follow from what they name: the same work done twice gives the same objects."""

from hashlib import sha256
from uuid import UUID

from pydicom.uid import UID


def derive(key: str, role: str, index: int = 0) -> str:
    """Derive a UID under 2.25 from the first 128 bits of a SHA-256 (PS3.5 B.2).

    ``role`` is the part the object plays ("SEG instance"), ``index`` tells several of one role apart. The bits stand as
    they come: a UUID's version and variant are not forced, and readers test for no more than a 128-bit number.
    """
    digest = sha256("\x1f".join((key, role, str(index))).encode()).digest()
    return UID(f"2.25.{UUID(bytes=digest[:16]).int}")
