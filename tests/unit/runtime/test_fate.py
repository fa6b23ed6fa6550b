"""A station ends with its supervisor, from its first moment on: it holds the supervisor's listening socket."""

import socket
import subprocess
import sys
import threading

import pytest

from vb_node.dimse.listener import bind
from vb_node.errors import ConfigError

SOMEBODY_ELSE = 1
HELD_S = 0.3


def test_a_station_whose_supervisor_is_gone_ends_at_once() -> None:
    command = [sys.executable, "-c", f"from vb_node.runtime.fate import die_with; die_with({SOMEBODY_ELSE}); print()"]

    ended = subprocess.run(command, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout) == (0, b"")


@pytest.fixture
def held() -> socket.socket:
    return bind(("127.0.0.1", 0))


def test_a_port_that_a_station_is_just_leaving_is_waited_for(held: socket.socket) -> None:
    address = held.getsockname()
    threading.Timer(HELD_S, held.close).start()

    with bind(address, within_s=10) as listening:
        assert listening.getsockname() == address


def test_a_port_that_stays_in_use_is_refused(held: socket.socket) -> None:
    with held, pytest.raises(ConfigError, match="cannot listen on 127.0.0.1:.*choose a free port"):
        bind(held.getsockname(), within_s=HELD_S)
