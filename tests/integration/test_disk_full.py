"""A node whose disk fills up: it says so to the sender, loses nothing, and goes on by itself when there is space."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from factories import mr_series, write
from processes import TOML, Node, free_port, storescu, tool, wait_until
from sqlalchemy import select

from storage.schema import Instance
from storage.spool import Spool
from vb_node.dimse import scu, status
from vb_node.runtime.receive import is_intact

MIB = 1 << 20
BALLAST, RESERVE_MB = 24 * MIB, 8
RECOVERY_S = 10.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Give a node whose data folder is a disk of 64 MiB, with a ballast that a person may throw off."""
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run([tool("mount"), "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(data)], check=True)
    (data / "ballast").write_bytes(bytes(BALLAST))
    port = free_port()
    toml = TOML.format(port=port, pacs_port=free_port(), quiet_s=120)
    node = Node(tmp_path, f"{toml}reserve_mb = {RESERVE_MB}\n", port)
    try:
        yield node
    finally:
        node.stop()
        node.database.close()
        subprocess.run([tool("umount"), "-l", str(data)], check=True)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Make 80 instances of half a MiB: more than the disk holds."""
    noise = np.random.default_rng(0).integers(0, 1000, (80, 512, 512))
    return write(mr_series(noise), tmp_path / "series")


def _send(node: Node, paths: list[Path]) -> dict[Path, int | None]:
    answers, longest_s = {}, {}
    begun = time.monotonic()
    for sent in scu.store_many(paths, node.address, "SENDER"):
        begun, took_s = time.monotonic(), time.monotonic() - begun
        answers[sent.path] = sent.status
        longest_s[sent.status] = max(took_s, longest_s.get(sent.status, 0.0))
    print("longest answer:", {scu.words_of(answer): f"{took_s:.3f} s" for answer, took_s in longest_s.items()})
    return answers


def test_r_12_a_full_disk_is_answered_a700_and_nothing_answered_is_lost(node: Node, paths: list[Path]) -> None:
    node.start()
    listeners = node.stations("receive")

    answers = _send(node, paths)
    kept = [path for path, answer in answers.items() if answer == status.SUCCESS]
    refused = len(paths) - len(kept)
    wait_until(lambda: len(node.events(event="instance refused")) == refused, RECOVERY_S, "each refusal is told")
    told = {event.event for event in node.events()}
    (node.home / "data" / "ballast").unlink()
    freed = time.monotonic()
    wait_until(node.answers, RECOVERY_S, "associations are accepted again")
    print(f"accepts associations again {time.monotonic() - freed:.1f} s after space was freed")
    again = _send(node, paths)
    wait_until(lambda: _count(node) == len(paths), RECOVERY_S, "the rows follow the answers")

    assert 0 < len(kept) < len(paths)
    assert set(answers.values()) == {status.SUCCESS, status.OUT_OF_RESOURCES}
    assert list(answers.values()) == sorted(answers.values(), key=lambda answer: answer != status.SUCCESS)
    assert "disk full" in told
    assert set(again.values()) == {status.SUCCESS}
    assert node.stations("receive") == listeners
    assert _lost(node, paths) == []
    assert list((node.home / "data").rglob("*.part")) == []


def test_r_12_what_finds_no_room_while_it_comes_is_answered_a700_and_leaves_nothing(node: Node, tmp_path: Path) -> None:
    (large,) = write(mr_series(np.zeros((1, 7000, 7000))), tmp_path / "large")
    node.start()

    answers = set(_send(node, [large]).values())
    wait_until(lambda: len(node.events(event="instance refused")) == 1, RECOVERY_S, "the refusal is told")
    small = set(_send(node, write(mr_series(np.zeros((2, 64, 64))), tmp_path / "small")).values())

    assert (answers, small) == ({status.OUT_OF_RESOURCES}, {status.SUCCESS})


def _count(node: Node) -> int:
    with node.database.read() as session:
        return len(session.scalars(select(Instance.sop_instance_uid)).all())


def _lost(node: Node, paths: list[Path]) -> list[Path]:
    spool = Spool(node.home / "data" / "spool")
    with node.database.read() as session:
        instances = {path: session.get_one(Instance, path.stem) for path in paths}
    return [
        path
        for path, instance in instances.items()
        if not is_intact(spool.path_of(instance.sop_instance_uid, instance.sha256), instance.sha256)
    ]


def test_r_12_above_the_watermark_associations_are_refused_for_now(node: Node, paths: list[Path]) -> None:
    node.config.write_text(node.config.read_text().replace("stop_at = 1", "stop_at = 0.6"))
    (node.home / "data" / "ballast").unlink()
    node.start()
    (node.home / "data" / "ballast").write_bytes(bytes(2 * BALLAST))

    rejected = storescu(node, paths[:1])
    (node.home / "data" / "ballast").unlink()
    taken = storescu(node, paths[:1])

    words = rejected.stdout + rejected.stderr
    assert rejected.returncode != 0
    assert "Rejected Transient" in words
    assert "Temporary Congestion" in words
    assert taken.returncode == 0
