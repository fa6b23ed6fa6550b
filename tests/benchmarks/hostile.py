"""What 200 hostile peers cost, and whom: this node, DCMTK, Orthanc and pynetdicom side by side in one run (G9, G10).

``python tests/benchmarks/hostile.py``. From ten addresses 200 peers connect and say nothing ("silent"), or ask for an
association one byte a second ("dribbling"); by TLS the silent ones do not even shake hands. Four times a second a good
peer comes from an address of its own, associates and echoes. Printed are its times, how much of a core the receiver
took, its memory, and how long it kept the last of the 200.
"""

import argparse
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import quantiles

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from certificates import Authority
from ingest import RAW_TOML, dcmtk, node, orthanc, pynetdicom
from listener_process import ListenerProcess
from pdu import Raw, associate_rq, echo_rq
from processes import HOST

from vb_node import show

ADDRESSES, PEERS, LONGEST_S = 10, 200, 40.0
EVERY_S, PATIENCE_S, NEVER = 0.25, 5.0, float("inf")

Secure = Callable[[Raw], Raw]


@contextmanager
def node_by_tls(folder: Path) -> Iterator[tuple[int, Secure]]:
    """Run this node's listener by TLS, to which each peer must show a certificate."""
    authority = Authority(folder / "ca")
    own, peer = authority.issue("node"), authority.issue("peer")
    context = ssl.create_default_context(cafile=str(authority.pem))
    context.load_cert_chain(peer.pem, peer.key)
    files = f'[receive.tls]\ncertificate = "{own.pem}"\nkey = "{own.key}"\nca = "{authority.pem}"\n'
    listener = ListenerProcess(folder / "node", files, context=context)
    text = listener.config.read_text()
    for old, new in RAW_TOML.items():
        text = text.replace(old, new)
    listener.config.write_text(text)
    listener.start()
    try:
        yield listener.port, lambda raw: raw.secure(context)
    finally:
        listener.stop()


@contextmanager
def _in_clear(receiver: Callable[[Path], object], folder: Path) -> Iterator[tuple[int, Secure]]:
    with receiver(folder) as port:  # type: ignore[attr-defined]
        yield port, lambda raw: raw


RECEIVERS: dict[str, Callable[[Path], object]] = {
    "vb-node": lambda folder: _in_clear(node, folder),
    "vb-node by TLS": node_by_tls,
    "Orthanc": lambda folder: _in_clear(orthanc, folder),
    "DCMTK storescp --fork": lambda folder: _in_clear(dcmtk, folder),
    "pynetdicom storescp": lambda folder: _in_clear(pynetdicom, folder),
}


def _server(port: int) -> psutil.Process:
    """Find the process that listens on a port."""
    pids = [one.pid for one in psutil.net_connections("tcp4") if one.status == "LISTEN" and one.laddr.port == port]
    return psutil.Process(next(pid for pid in pids if pid is not None))


def _taken(server: psutil.Process) -> tuple[float, float]:
    """Give the seconds of processor and the MB of a server and its children, those that have ended among them."""
    seconds, resident = 0.0, 0.0
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + (times.children_user + times.children_system) * (process == server)
            resident += process.memory_info().rss / 1e6
    return seconds, resident


def echo(port: int, secure: Secure) -> float:
    """Come as a good peer; give the seconds until the echo was answered, infinity for those of one that was not."""
    begun = time.monotonic()
    try:
        with Raw(port) as raw:
            raw.socket.settimeout(PATIENCE_S)
            peer = secure(raw)
            peer.associate()
            return time.monotonic() - begun if peer.send(echo_rq()).status() == 0 else NEVER
    except (OSError, AssertionError):
        return NEVER


def _knock(port: int, source: str) -> socket.socket:
    """Begin to connect, and do not wait: who cannot be let in yet stands in the queue."""
    peer = socket.socket()
    peer.setblocking(False)
    peer.bind((source, 0))
    peer.connect_ex((HOST, port))
    return peer


def _is_let_go(peer: socket.socket) -> bool:
    try:
        return not peer.recv(1 << 16)
    except BlockingIOError:
        return False
    except OSError:
        return True


def besiege(port: int, secure: Secure, *, dribbles: bool) -> list[str]:
    """Hold 200 hostile peers before a receiver until it has let them all go, or for long enough; give a row."""
    request = associate_rq()
    server = _server(port)
    (before_s, _), begun = _taken(server), time.monotonic()
    echoes: list[float] = []
    with ExitStack() as stack:
        addresses = [f"127.0.0.{2 + number % ADDRESSES}" for number in range(PEERS)]
        hostile = [stack.enter_context(_knock(port, address)) for address in addresses]
        sent, resident = 0, 0.0
        while hostile and time.monotonic() - begun < LONGEST_S:
            turn = time.monotonic()
            if dribbles and turn - begun > sent:
                for peer in hostile:
                    with suppress(OSError):
                        peer.send(request[sent : sent + 1])
                sent += 1
            echoes.append(echo(port, secure))
            hostile = [peer for peer in hostile if not _is_let_go(peer)]
            resident = max(resident, _taken(server)[1])
            time.sleep(max(0.0, EVERY_S - (time.monotonic() - turn)))
        kept_s, left = time.monotonic() - begun, len(hostile)
    answered = [one for one in echoes if one != NEVER]
    busy = (_taken(server)[0] - before_s) / (time.monotonic() - begun)
    p95 = quantiles(echoes, n=20)[-1] if len(answered) > 0.95 * len(echoes) else NEVER
    kept = f"{kept_s:.0f} s" if not left else f"{left} of {PEERS} still after {kept_s:.0f} s"
    slow = "never" if p95 == NEVER else f"{1000 * p95:.0f} ms"
    return [f"{len(answered)} of {len(echoes)}", slow, f"{busy:.2f}", f"{resident:.0f} MB", kept]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for kind in ("silent", "dribbling"):
            for name, receiver in RECEIVERS.items():
                if kind == "dribbling" and name.endswith("TLS"):
                    continue
                with receiver(Path(root) / f"{kind}-{len(rows)}") as (port, secure):  # type: ignore[attr-defined]
                    rows.append([kind, name, *besiege(port, secure, dribbles=kind == "dribbling")])
                    print(*rows[-1], sep=" | ", flush=True)
    columns = ["200 peers", "receiver", "echoes answered", "p95", "of a core", "memory", "the last is let go after"]
    show.table("Hostile peers", columns, rows)


if __name__ == "__main__":
    main()
