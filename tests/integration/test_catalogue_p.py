"""Catalogue P (RELIABILITY.md section 4): the way of a result to its destination."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import freezing_peer
import pytest
from cut_peers import proxy
from factories import head, mr_series, write
from processes import HOST, free_port, storescp, wait_until

from vb_node.dimse import scu
from vb_node.errors import Later

SHORT = scu.Timeouts(connect_s=2.0, answer_s=2.0)


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return write(mr_series(head((1, 256, 256))), tmp_path / "files")[0]


def _never(path: Path, _sop_class_uid: str) -> Path:
    pytest.fail(f"{path} needs no other class")


@contextmanager
def freezing(moment: str) -> Iterator[int]:
    port = free_port()
    peer = subprocess.Popen([sys.executable, freezing_peer.__file__, str(port), moment])
    try:
        wait_until(lambda: _listens(port), 20, "the peer listens")
        yield port
    finally:
        peer.kill()
        peer.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.mark.parametrize("moment", [moment for moment in freezing_peer.MOMENTS if moment != "release"])
def test_p_02_a_frozen_pacs_frees_the_sender(instance: Path, moment: str) -> None:
    with freezing(moment) as port:
        begun = time.monotonic()
        with pytest.raises(Later):
            scu.store(scu.Address("PACS", HOST, port), "NODE", instance, _never, SHORT)

        assert time.monotonic() - begun < 10


def test_p_02_a_pacs_that_freezes_at_release_has_answered(instance: Path) -> None:
    with freezing("release") as port:
        begun = time.monotonic()
        status = scu.store(scu.Address("PACS", HOST, port), "NODE", instance, _never, SHORT)

        assert (status, time.monotonic() - begun < 10) == (0, True)


def test_p_02_a_host_that_takes_no_connection_frees_the_sender(instance: Path) -> None:
    with socket.create_server((HOST, 0), backlog=0) as listener:
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        begun = time.monotonic()
        with pytest.raises(scu.Unreachable):
            scu.store(scu.Address("PACS", HOST, address[1]), "NODE", instance, _never, SHORT)

        assert time.monotonic() - begun < 10
        for one in crowd:
            one.close()


def test_p_10_a_slow_link_that_moves_is_waited_for(instance: Path, tmp_path: Path) -> None:
    port = free_port()
    with storescp(tmp_path / "pacs", port) as pacs, proxy(port, bytes_s=30_000) as slow:
        status = scu.store(scu.Address("PACS", HOST, slow.port), "NODE", instance, _never, SHORT)

        assert instance.stat().st_size / 30_000 > SHORT.answer_s
        assert (status, len(list(pacs.iterdir()))) == (0, 1)
