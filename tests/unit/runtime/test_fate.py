"""A station ends with its supervisor, from its first moment on: it holds the supervisor's listening socket."""

import os
import socket
import subprocess
import sys
import threading

import pytest

from vb_node.dimse.listener import bind
from vb_node.errors import ConfigError
from vb_node.runtime.fate import SUPERVISOR

SOMEBODY_ELSE = "1"
HELD_S = 0.3


def test_a_station_whose_supervisor_is_gone_ends_before_it_loads_anything() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "vb_node", "serve", "--only", "receive"]

    ended = subprocess.run(command, env=os.environ | {SUPERVISOR: SOMEBODY_ELSE}, capture_output=True, check=False)

    assert ended.returncode == 0
    assert b"vb_node.runtime.fate" in ended.stderr
    assert b"vb_node.cli" not in ended.stderr


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
