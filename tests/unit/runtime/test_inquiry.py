"""A PACS that does not answer never holds up the assembler."""

import socket
import time
from collections.abc import Iterator

import pytest

from vb_node.dimse.scu import Address, Timeouts
from vb_node.runtime.inquiry import Inquiry


@pytest.fixture
def frozen() -> Iterator[Address]:
    """Give a peer that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield Address("PACS", *server.getsockname())


def test_a_frozen_pacs_costs_a_moment_and_counts_nothing(frozen: Address) -> None:
    inquiry = Inquiry(frozen, "VBNODE", Timeouts(1, 1))

    began = time.monotonic()
    answers = [inquiry.counted("1.2", 10.0, 11.0) for _ in range(10)]

    assert answers == [{}] * 10
    assert time.monotonic() - began < 5


def test_a_pacs_that_is_down_counts_nothing() -> None:
    inquiry = Inquiry(Address("PACS", "127.0.0.1", 1), "VBNODE", Timeouts(1, 1))

    assert inquiry.counted("1.2", 10.0, 11.0) == {}
