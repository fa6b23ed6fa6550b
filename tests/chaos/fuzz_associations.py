"""Recorded associations, mutated PDU by PDU, played at a real listener that must stay alive."""

import random
import socket
import subprocess
import threading
from pathlib import Path

import psutil
from factories import head, mr_series, write
from fuzz_datasets import Tally
from mutate import mutated_pdus
from processes import HOST, free_port, tool
from victim import Victim

from storage.spool import Spool

EVERY, ANSWER_S, MOST_MIB, MORE_THREADS = 500, 0.3, 512, 10
ACCEPTED = 0x02


def record(port: int, files: list[Path]) -> list[bytes]:
    """Send files by DCMTK through a proxy, and give the PDUs that it sent (PS3.8 9.3)."""
    sent = bytearray()
    with socket.create_server((HOST, 0)) as door:
        proxy = threading.Thread(target=_forward, args=(door, port, sent))
        proxy.start()
        to = str(door.getsockname()[1])
        command = [tool("storescu"), "-aet", "SENDER", "-aec", "VBNODE", HOST, to, *map(str, files)]
        subprocess.run(command, check=True)
        proxy.join()
    pdus = []
    while sent:
        size = 6 + int.from_bytes(sent[2:6], "big")
        pdus.append(bytes(sent[:size]))
        del sent[:size]
    return pdus


def _forward(door: socket.socket, port: int, sent: bytearray) -> None:
    sender, _ = door.accept()
    with sender, socket.create_connection((HOST, port)) as node:
        back = threading.Thread(target=_copy, args=(node, sender, bytearray()))
        back.start()
        _copy(sender, node, sent)
        back.join()


def _copy(source: socket.socket, sink: socket.socket, copied: bytearray) -> None:
    while piece := source.recv(1 << 16):
        copied += piece
        sink.sendall(piece)
    sink.shutdown(socket.SHUT_WR)


def play(port: int, pdus: list[bytes]) -> str:
    """Send PDUs as they are, waiting a moment for the association; say how it ended."""
    try:
        with socket.create_connection((HOST, port), timeout=5) as peer:
            peer.settimeout(ANSWER_S)
            peer.sendall(pdus[0])
            answer = _read(peer)
            if not answer or answer[0] != ACCEPTED:
                return f"no association ({answer[:1].hex() or 'nothing'})"
            peer.sendall(b"".join(pdus[1:]))
            answer = _read(peer)
            return f"associated, then {answer[:1].hex() or 'nothing'}"
    except OSError as error:
        return type(error).__name__


def _read(peer: socket.socket) -> bytes:
    try:
        return peer.recv(1 << 16)
    except TimeoutError:
        return b""


def fuzz(cases: int, seed: int, folder: Path, control: str | None) -> Tally:
    """Play the cases; every 500 the listener must answer, be the same process, and have kept its size."""
    files = write(mr_series(head((2, 16, 16))), folder / "files")
    home = folder / "node"
    home.mkdir()
    tally = Tally()
    with Victim(home, free_port(), control, only="receive") as victim:
        victim.wait_until_up()
        pdus = record(victim.port, files)
        process = psutil.Process(victim.supervisor.pid)
        threads = process.num_threads()
        for number in range(cases):
            chance = random.Random(f"{seed}/{number}")
            fresh = [_renamed(pdu, files, number) for pdu in pdus]
            tally.verdicts[play(victim.port, mutated_pdus(chance, fresh))] += 1
            if number % EVERY == EVERY - 1 or number == cases - 1:
                tally.wrong += _not_alive(victim, process, threads, folder, number)
        tally.wrong += _unreadable(home / "data" / "spool")
    return tally


def _renamed(pdu: bytes, files: list[Path], number: int) -> bytes:
    """Give the recorded instances new SOP Instance UIDs of the same length."""
    for path in files:
        uid = path.stem.encode()
        pdu = pdu.replace(uid, uid[:-8] + f"{10_000_000 + number}".encode())
    return pdu


def _not_alive(victim: Victim, process: psutil.Process, threads: int, folder: Path, number: int) -> list[str]:
    """Ask for an echo and a store, and look at the process."""
    good = write(mr_series(head((1, 16, 16))), folder / f"good-{number}")
    to = ["-to", "10", "-aet", "SENDER", "-aec", "VBNODE", HOST, str(victim.port)]
    wrong = []
    for command in ([tool("echoscu"), *to], [tool("storescu"), *to, str(good[0])]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            wrong.append(f"after case {number}: {Path(command[0]).name} fails")
    if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
        return [*wrong, f"after case {number}: the listener has died"]
    mib = process.memory_info().rss >> 20
    if mib > MOST_MIB or process.num_threads() > threads + MORE_THREADS:
        wrong.append(f"after case {number}: {mib} MiB, {process.num_threads()} threads, {threads} before")
    return wrong


def _unreadable(spool: Path) -> list[str]:
    """Name what was answered Success and DCMTK cannot read."""
    return [
        f"{path.name} was taken, DCMTK cannot read it"
        for path in Spool(spool)
        if subprocess.run([tool("dcmdump"), "-q", str(path)], capture_output=True, check=False).returncode
    ]
