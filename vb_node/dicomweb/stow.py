"""Storing by HTTP: STOW-RS as user agent (PS3.18 10.5), one instance a request, and what its answer says of it."""

import json
import uuid
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

from vb_node.dicomweb.service import JSON, Answer, Service, exchange

PIECE_BYTES = 1 << 16
SLOWEST_BYTES_S = 1000
LONGEST_WAIT_S = 3600.0
REFERENCED_SOP_SEQUENCE, FAILED_SOP_SEQUENCE = "00081199", "00081198"
REFERENCED_SOP_INSTANCE_UID = "00081155"
WARNING_REASON, FAILURE_REASON = "00081196", "00081197"

Word = Literal["stored", "failed", "busy", "unsure", "locked out", "refused", "too large"]

MEANINGS: tuple[tuple[Container[int], Word, str], ...] = (
    (range(300), "unsure", f"expected {JSON} that names the instance"),
    (range(300, 400), "refused", "a redirect is not followed; correct the url of the destination"),
    ((401, 403), "locked out", "check authorization_file, and what its user may do"),
    ((413,), "too large", "the destination does not take an instance of this size"),
    ((408, 429, *range(500, 600)), "busy", "the destination cannot for now"),
    (range(400, 1000), "refused", "check the url of the destination, and what it takes"),
)
"""What follows from an HTTP status where the answer does not name the instance; the first that fits."""


@dataclass(frozen=True)
class Stored:
    """What became of one instance; ``reason`` is its Warning or Failure Reason, as a C-STORE status."""

    word: Word
    detail: str | None = None
    reason: int | None = None
    wait_s: float | None = None


def longest_s(service: Service, size_bytes: int) -> float:
    """Give the time that storing so much may take."""
    return service.connect_s + 2 * service.answer_s + size_bytes / SLOWEST_BYTES_S


def store(service: Service, path: Path, sop_instance_uid: str) -> Stored:
    """Send one instance as its file holds it; raise ``Unreachable`` or ``NoAnswer``."""
    boundary = uuid.uuid4().hex
    opening = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    closing = f"\r\n--{boundary}--\r\n".encode()
    size_bytes = path.stat().st_size
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(len(opening) + size_bytes + len(closing)),
    }
    body = _pieces(opening, path, closing)
    limit_s = longest_s(service, size_bytes)
    answer = exchange(service, "POST", "/studies", longest_s=limit_s, headers=headers, content=body)
    return read(answer, sop_instance_uid)


def _pieces(opening: bytes, path: Path, closing: bytes) -> Iterator[bytes]:
    yield opening
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
    yield closing


def read(answer: Answer, sop_instance_uid: str) -> Stored:
    """Say what an answer means for one instance (PS3.18 10.5.3).

    Success is believed where the answer names the instance: a login page is answered with 200 too.
    """
    if answer.status in (200, 202, 409) and (named := _named(answer, sop_instance_uid)):
        return named
    word, advice = next((word, advice) for statuses, word, advice in MEANINGS if answer.status in statuses)
    wait_s = _retry_after_s(answer) if word == "busy" else None
    return Stored(word, f"HTTP {answer.status} with {answer.content_type}: {advice}", wait_s=wait_s)


def _named(answer: Answer, sop_instance_uid: str) -> Stored | None:
    """Find the instance in the answer's sequences."""
    try:
        body = json.loads(answer.body)
        for item in _items(body, FAILED_SOP_SEQUENCE):
            if _value(item, REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid:
                reason = _value(item, FAILURE_REASON)
                return Stored("failed", f"HTTP {answer.status}, failure reason {_shown(reason)}", reason)
        for item in _items(body, REFERENCED_SOP_SEQUENCE):
            if _value(item, REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid:
                reason = _value(item, WARNING_REASON)
                return Stored("stored", None if reason is None else f"warning reason {_shown(reason)}", reason)
    except (ValueError, AttributeError, TypeError, KeyError, IndexError):
        return None  # not the JSON of PS3.18: the HTTP status has the word
    return None


def _items(body: Any, tag: str) -> list[Any]:
    one: Any = body[0] if isinstance(body, list) else body
    items: list[Any] = one.get(tag, {}).get("Value", [])
    return items


def _value(item: Any, tag: str) -> Any:
    values = item.get(tag, {}).get("Value", [None])
    return values[0]


def _shown(reason: Any) -> str:
    return f"{reason:04X}" if isinstance(reason, int) else "not given"


def _retry_after_s(answer: Answer) -> float | None:
    """Read Retry-After, seconds or a date (RFC 9110 10.2.3)."""
    said = answer.headers.get("retry-after", "")
    try:
        wait_s = float(said) if said.isdigit() else (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)
