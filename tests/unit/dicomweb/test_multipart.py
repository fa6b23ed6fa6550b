"""A multipart body gives the same parts however it is cut, and ends where it is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb_node.dicomweb.multipart import Begin, End, Malformed, Reader, TooMuch, content_type

PART = b"--b\r\nContent-Type: application/dicom\r\nA: 1\r\n\r\nDICM\r\n-\r\n--\r\n"
BODY = b"to skip\r\n" + PART + b"--b \r\n\r\n\r\n--b--\r\nto skip"


def _read(body: bytes, sizes: int = 1 << 20, boundary: str = "b", most_parts: int = 10) -> list[object]:
    reader = Reader(boundary, most_parts)
    events: list[object] = []
    for at in range(0, len(body), sizes):
        for event in reader.feed(body[at : at + sizes]):
            if isinstance(event, bytes) and events and isinstance(events[-1], bytes):
                events[-1] += event
            else:
                events.append(event)
    return [*events, reader.is_whole]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_are_the_same_however_the_body_is_cut(size: int) -> None:
    said = {"content-type": "application/dicom", "a": "1"}

    assert _read(BODY, size) == [Begin(said), b"DICM\r\n-\r\n--", End(), Begin(), End(), True]


def test_a_body_may_begin_with_its_delimiter() -> None:
    assert _read(b"--b\r\n\r\nx\r\n--b--") == [Begin(), b"x", End(), True]


def test_a_body_without_its_closing_delimiter_is_not_whole() -> None:
    assert _read(b"--b\r\n\r\nx\r\n--b\r\n\r\ny") == [Begin(), b"x", End(), Begin(), False]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"x" * 70_000, Malformed),
        (b"--bc\r\n\r\nx\r\n--b--", Malformed),
        (b"--b" + b" " * 100, Malformed),
        (b"--b\r\nA: " + b"x" * 9000, TooMuch),
        (b"--b\r\n" + b"a:1\r\n" * 40 + b"\r\n", TooMuch),
        (b"--b\r\n\r\n\r\n" * 20, TooMuch),
    ],
)
def test_what_is_no_multipart_or_too_much_ends_the_reading(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        _read(body)


@pytest.mark.parametrize("boundary", ["", "x" * 201, "a\r\nb", "ä", "ends with blank "])
def test_a_boundary_that_is_none_is_refused(boundary: str) -> None:
    with pytest.raises(Malformed):
        Reader(boundary, 1)


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_are_read_or_refused_without_another_error(body: bytes, size: int) -> None:
    try:
        _read(b"--b\r\n\r\n" + body, size)
    except (Malformed, TooMuch):
        return


@pytest.mark.parametrize(
    ("value", "kind", "parameters"),
    [
        ('Multipart/Related; type="application/dicom"; boundary=b', "multipart/related", ("application/dicom", "b")),
        ('multipart/related;type=application/dicom;boundary="a b"', "multipart/related", ("application/dicom", "a b")),
        ("multipart/related", "multipart/related", (None, None)),
        ("", "", (None, None)),
        ("nonsense", "", (None, None)),
        ("a/b;" * 100_000, "a/b", (None, None)),
    ],
)
def test_a_content_type_is_read(value: str, kind: str, parameters: tuple[str | None, str | None]) -> None:
    read, named = content_type(value)

    assert (read, (named.get("type"), named.get("boundary"))) == (kind, parameters)
