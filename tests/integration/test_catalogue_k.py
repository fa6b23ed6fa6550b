"""Catalogue K: what the process that computes may not do, tried by an application that does it.

Each attempt is made outside a cell too: there it succeeds, so the test can fail.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import Laboratory, saboteur_installed
from plugins.saboteur import ACTS
from processes import TOML, Node, free_port, wait_until
from tiny_qwen import write_tiny_qwen

from vb_node.config import Settings, VirtualBiopsySettings, VlmSettings, build
from vb_node.errors import ConfigError
from vb_node.models.pins import DIAGNOSER, MODEL, MODELS, PRETRAINED, read_pins, site_folder
from vb_node.models.weights import write_pin
from vb_node.pipeline.application import furniture, installed


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with saboteur_installed():
        made = Laboratory(tmp_path_factory.mktemp("laboratory"), memory_gb=2)
        yield made
        made.cell.end()


@pytest.fixture
def listening() -> Iterator[dict[str, Any]]:
    """Give addresses at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        yield {"connect by TCP": tcp.getsockname(), "send by UDP": udp.getsockname()}


def test_k_08_the_walls_stand_on_this_machine(laboratory: Laboratory) -> None:
    laboratory.cell.start()

    assert laboratory.cell.lacking == []


@pytest.mark.parametrize("act", ["connect by TCP", "send by UDP"])
def test_k_08_a_computation_has_no_network(laboratory: Laboratory, listening: dict[str, Any], act: str) -> None:
    inside, outside = laboratory.answer(act, listening[act]), ACTS[act](listening[act])

    assert (inside, outside) == ("PermissionError", "done")


def test_k_06_a_model_of_the_sites_is_loaded_and_asked_without_network(tmp_path: Path) -> None:
    cached = write_tiny_qwen(tmp_path / "cache" / "tiny")
    model = tmp_path / "model"
    model.mkdir()
    for file in cached.iterdir():  # as download caches lay a model out
        (model / file.name).symlink_to(file)
    settings = Settings(virtual_biopsy=VirtualBiopsySettings(vlm=VlmSettings(model=model)))
    with saboteur_installed():
        furnished = Laboratory(tmp_path, furniture(installed().values(), settings), memory_gb=8)
        bare = Laboratory(tmp_path, memory_gb=8)

        answer = furnished.answer("ask a model", str(model))
        with pytest.raises(ConfigError, match="Permission"):
            bare.answer("ask a model", str(model))
        for laboratory in (furnished, bare):
            laboratory.cell.end()

    assert answer == ACTS["ask a model"](str(model))


def test_k_06_weights_of_the_sites_are_opened_where_they_are_named(tmp_path: Path) -> None:
    folder = site_folder(tmp_path / "data", "ours")
    (folder / MODELS).mkdir(parents=True)
    (folder / MODELS / MODEL).write_bytes((PRETRAINED / DIAGNOSER).read_bytes())
    write_pin(folder / MODELS / MODEL, read_pins()[DIAGNOSER])
    values = {"node": {"data": str(tmp_path / "data")}, "virtual_biopsy": {"diagnoser": "ours"}}
    with saboteur_installed():
        furnished = Laboratory(tmp_path, furniture(installed().values(), build(values)), memory_gb=8)
        bare = Laboratory(tmp_path, memory_gb=8)

        answer = furnished.answer("open weights", str(folder))
        with pytest.raises(ConfigError, match="ours"):
            bare.answer("open weights", str(folder))
        for laboratory in (furnished, bare):
            laboratory.cell.end()

    assert answer == f"{read_pins()[DIAGNOSER].sha256} {read_pins()[DIAGNOSER].seed}"


def test_k_08_a_computation_reaches_no_socket_file(laboratory: Laboratory, tmp_path: Path) -> None:
    act, path = "connect to a socket file", str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        inside, outside = laboratory.answer(act, path), ACTS[act](path)

    assert (inside, outside) == ("PermissionError", "done")


def test_k_08_with_network_true_a_computation_connects_out(tmp_path: Path, listening: dict[str, Any]) -> None:
    act = "connect by TCP"
    with saboteur_installed():
        laboratory = Laboratory(tmp_path, network=True)

        answers = laboratory.answer(act, listening[act]), laboratory.answer("start a process")
        laboratory.cell.end()

    assert answers == ("done", "PermissionError")


def test_k_08_a_computation_reads_no_other_case(laboratory: Laboratory, tmp_path: Path) -> None:
    other = tmp_path / "other.dcm"
    other.write_bytes(b"another patient")

    inside, outside = laboratory.answer("read", str(other)), ACTS["read"](str(other))

    assert (inside, outside) == ("PermissionError", "done")


@pytest.mark.parametrize("place", ["ledger", "original", "inputs", "package", "/tmp"])
def test_k_08_a_computation_writes_its_own_folder_only(laboratory: Laboratory, tmp_path: Path, place: str) -> None:
    folder = laboratory.cell.start()
    paths = {
        "ledger": tmp_path / "ledger.db",
        "original": laboratory.good[0],
        "inputs": folder / "in" / "0.dcm",
        "package": Path(os.__file__),
        "/tmp": Path("/tmp/vb-node-saboteur"),
    }

    inside = laboratory.answer("write", str(paths[place]))
    own = laboratory.answer("write", str(folder / "out" / "own"))

    assert (inside, own) == ("PermissionError", "done")


@pytest.mark.parametrize("act", ["start a process", "start a program"])
def test_k_08_a_computation_starts_no_process_and_so_no_fork_bomb(laboratory: Laboratory, act: str) -> None:
    inside, outside = laboratory.answer(act), ACTS["start a program"](None)

    assert (inside, outside) == ("PermissionError", "done")


@pytest.mark.parametrize("act", ["kill", "trace", "look at the files of a process"])
def test_k_08_a_computation_touches_no_other_process(laboratory: Laboratory, act: str) -> None:
    inside = laboratory.answer(act, os.getpid())

    assert inside == "PermissionError"


def test_k_08_a_computation_cannot_read_the_environment_of_its_worker(laboratory: Laboratory) -> None:
    path = f"/proc/{os.getpid()}/environ"

    inside, outside = laboratory.answer("read", path), ACTS["read"](path)

    assert (inside, outside) == ("PermissionError", "done")


def test_k_08_a_computation_is_given_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VB_NODE_NODE__DATABASE", "PGPASSWORD", "PACS_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    with saboteur_installed():
        laboratory = Laboratory(tmp_path)

        names = laboratory.answer("show the environment")
        laboratory.cell.end()

    assert "PATH" in names
    assert not {"VB_NODE_NODE__DATABASE", "PGPASSWORD", "PACS_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(names)


def test_k_08_a_computation_has_memory_to_its_limit(laboratory: Laboratory) -> None:
    more, less = laboratory.answer("take memory", 3 << 30), laboratory.answer("take memory", 1 << 20)

    assert (more, less) == ("MemoryError", "done")


# What a container forbids is forbidden by a filter here, before the worker starts.
CONTAINER = """
import os, sys
from seccompy import Filter
container = Filter()
container.errno(sys.argv[1], 1)
container.load()
os.execv(sys.executable, [sys.executable, "-m", "vb_node", "serve", "--only", "work", "--config", sys.argv[2]])
"""


@pytest.mark.parametrize(
    ("forbidden", "wall"),
    [("landlock_create_ruleset", "Landlock (files)"), ("seccomp", "seccomp (network, processes)")],
)
def test_k_08_a_wall_that_a_container_forbids_is_missed_aloud(tmp_path: Path, forbidden: str, wall: str) -> None:
    node = Node(tmp_path, TOML.format(port=free_port(), pacs_port=free_port(), quiet_s=1), 0)
    command = [sys.executable, "-c", CONTAINER, forbidden, str(node.config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        line = next(line for line in worker.stderr if "computation not confined" in line)
        wait_until(lambda: bool(node.events(event="computation not confined")), 20, "the audit trail tells it")
        worker.terminate()

    assert wall in line
    assert [event.details for event in node.events(event="computation not confined")] == [{"lacking": [wall]}]
