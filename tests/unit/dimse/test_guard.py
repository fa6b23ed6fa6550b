"""A guarded connection: what it hands out, and what it keeps in memory."""

import socket
from struct import pack

import pytest

from vb_node.dimse.guard import LARGEST_BUFFER, Broken, Limits, Stop, Wire

P_DATA = 0x04


@pytest.fixture
def ends() -> tuple[socket.socket, Wire]:
    peer, ours = socket.socketpair()
    wire = Wire(ours, Limits(stall_s=1.0), Stop())
    wire.opened()
    return peer, wire


def _pdu(content: bytes) -> bytes:
    return pack(">BxL", P_DATA, len(content)) + content


def test_pdus_of_any_cut_come_out_whole(ends: tuple[socket.socket, Wire]) -> None:
    peer, wire = ends
    contents = [bytes([number]) * (number * 997 % 5000) for number in range(40)]
    stream = b"".join(map(_pdu, contents))

    peer.sendall(stream)
    read = [bytes(wire.pdu(1 << 17)[1]) for _ in contents]

    assert read == contents


def test_a_long_association_keeps_one_buffer_of_a_bounded_size(ends: tuple[socket.socket, Wire]) -> None:
    peer, wire = ends

    for _ in range(400):
        peer.sendall(_pdu(bytes(16_000)))
        wire.pdu(1 << 17)

    assert len(wire._buffer) <= LARGEST_BUFFER


def test_what_is_too_long_is_not_awaited(ends: tuple[socket.socket, Wire]) -> None:
    peer, wire = ends
    peer.sendall(pack(">BxL", P_DATA, 101))

    with pytest.raises(Broken, match="100 bytes at most expected, 101 announced"):
        wire.pdu(100)


def test_a_peer_that_stops_within_a_message_is_given_up(ends: tuple[socket.socket, Wire]) -> None:
    peer, wire = ends
    peer.sendall(_pdu(b"whole")[:-1])

    with pytest.raises(Broken, match="nothing came for 1 s within a message"):
        wire.pdu(100)
