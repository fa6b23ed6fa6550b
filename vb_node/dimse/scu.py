"""The sender: C-STORE and C-ECHO as user, each association under a watchdog."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Queue
from typing import Any

from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import build_context

from vb_node.dimse import checkpoint, contexts, implementation, status
from vb_node.dimse.tls import ClientTls
from vb_node.dimse.watchdog import Watchdog
from vb_node.errors import ConfigError, Later, NoAnswer, NodeError, Unreachable

MOST_CONTEXTS = 128
SLOWEST_BYTES_S = 1000
RELEASE_S = 5.0
NO_META = "the file has no file meta information (PS3.10 7.1)"


class NotAccepted(NodeError):
    """The peer's answer to the association or its presentation contexts is a lasting no."""


@dataclass(frozen=True)
class Address:
    """Where an AE listens, and with ``tls`` how it is to be known and what we show it."""

    ae_title: str
    host: str
    port: int
    tls: ClientTls | None = None

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds: for a connection, and for a peer that moves no byte."""

    connect_s: float = 10.0
    answer_s: float = 25.0

    def longest_s(self, size_bytes: int) -> float:
        """Give the time that an association may take which sends so much."""
        return 2 * self.answer_s + size_bytes / SLOWEST_BYTES_S


def echo(peer: Address, calling: str, timeouts: Timeouts | None = None) -> None:
    """Send a C-ECHO; raise ``Later`` or ``NotAccepted`` when it is not answered with Success."""
    with association(peer, calling, [(contexts.VERIFICATION, contexts.NATIVE)], timeouts or Timeouts()) as opened:
        status_of(opened.send_c_echo(), peer)


def store(
    peer: Address, calling: str, path: Path, convert: Callable[[Path, str], Path], timeouts: Timeouts | None = None
) -> int:
    """Send one instance as its file holds it, and return the status that came.

    Where the peer does not accept its SOP class but one of ``contexts.FALL_BACK``, ``convert(path, sop_class_uid)``
    gives the file to send instead.

    Raises
    ------
    Unreachable
        No connection, or no association for now.
    NoAnswer
        The association broke, or no answer came: it may have been stored.
    NotAccepted
        The peer rejects us for good, or accepts no presentation context for the object.
    """
    meta = read_file_meta_info(path)
    sop_class_uid = str(meta.MediaStorageSOPClassUID)
    wanted = (sop_class_uid, *contexts.FALL_BACK.get(sop_class_uid, ()))
    syntaxes = (str(meta.TransferSyntaxUID),)
    offers = [(wish, syntaxes) for wish in wanted]
    size_bytes = path.stat().st_size
    with association(peer, calling, offers, timeouts or Timeouts(), size_bytes=size_bytes) as opened:
        accepted = {str(context.abstract_syntax) for context in opened.accepted_contexts}
        chosen = next(wish for wish in wanted if wish in accepted)
        sent = path if chosen == sop_class_uid else convert(path, chosen)
        return status_of(opened.send_c_store(sent), peer)


@dataclass(frozen=True)
class Sent:
    """What became of one file; ``status`` None: no answer came."""

    path: Path
    status: int | None
    why: str = ""


def store_many(paths: Sequence[Path], peer: Address, calling: str, associations: int = 1) -> Iterator[Sent]:
    """Send files over one or more associations at once; yield what became of each as it is known."""
    lanes = [list(islice(paths, start, None, associations)) for start in range(associations)]
    told: Queue[Sent] = Queue()
    with ThreadPoolExecutor(associations) as pool:
        running = [pool.submit(_store_lane, lane, peer, calling, told) for lane in lanes if lane]
        for _ in paths:
            yield told.get()
        for lane in running:
            lane.result()


def _store_lane(paths: Sequence[Path], peer: Address, calling: str, told: "Queue[Sent]") -> None:
    """Send files over one association, and tell of every one of them, whatever happens."""
    waiting = list(paths)
    try:
        metas = {path: meta for path in paths if (meta := _meta(path)) is not None}
        wanted = {(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in metas.values()}
        offers = [(sop_class_uid, (syntax,)) for sop_class_uid, syntax in sorted(wanted)[:MOST_CONTEXTS]]
        size_bytes = sum(path.stat().st_size for path in paths)
        with association(peer, calling, offers, Timeouts(), size_bytes=size_bytes) as opened:
            while waiting:
                path = waiting[0]
                told.put(_store_one(opened, path, peer) if path in metas else Sent(path, None, NO_META))
                waiting.pop(0)
    except Exception as error:
        why = str(error) if isinstance(error, Later | NotAccepted) else f"unexpected {type(error).__name__}"
        for path in waiting:
            told.put(Sent(path, None, why))


def _meta(path: Path) -> FileMetaDataset | None:
    try:
        return read_file_meta_info(path)
    except InvalidDicomError:
        return None


def _store_one(opened: Association, path: Path, peer: Address) -> Sent:
    try:
        return Sent(path, status_of(opened.send_c_store(path), peer))
    except (ValueError, RuntimeError, Later) as error:
        return Sent(path, None, str(error))


@contextmanager
def association(
    peer: Address,
    calling: str,
    offers: Sequence[tuple[str, Sequence[str]]],
    timeouts: Timeouts,
    *,
    size_bytes: int = 0,
    handlers: Sequence[Any] = (),
) -> Iterator[Association]:
    """Open an association, and release it at the end of the block; raise ``Unreachable`` or ``NotAccepted``.

    ``size_bytes`` is what will be sent, about: the more, the longer may it take. ``handlers`` are pynetdicom's.
    """
    watchdog = Watchdog(timeouts.answer_s, timeouts.longest_s(size_bytes))
    ae = implementation.entity(calling)
    ae.connection_timeout = timeouts.connect_s
    ae.acse_timeout = 2 * timeouts.answer_s
    ae.dimse_timeout = ae.network_timeout = watchdog.longest_s
    offered = [build_context(sop_class_uid, list(syntaxes)) for sop_class_uid, syntaxes in offers]
    opened = ae.associate(
        peer.host,
        peer.port,
        contexts=offered,
        ae_title=peer.ae_title,
        evt_handlers=[*watchdog.handlers, *handlers],
        tls_args=_tls_args(peer),
    )
    if not opened.is_established:
        watchdog.stop()
        raise _why_not(opened, peer)
    checkpoint.install(opened)
    try:
        if not opened.accepted_contexts:
            raise NotAccepted(f"{peer} accepts none of the presentation contexts {[offer[0] for offer in offers]}")
        yield opened
    finally:
        watchdog.silent_s = min(RELEASE_S, timeouts.answer_s)  # what was asked is answered by now
        opened.release() if opened.is_established else opened.abort()
        watchdog.stop()


def _tls_args(peer: Address) -> tuple[ssl.SSLContext, str] | None:
    """Give what pynetdicom secures a connection with; the files are read each time, so that they may be renewed."""
    if peer.tls is None:
        return None
    try:
        return peer.tls.context(), peer.host
    except ConfigError as error:
        raise Later(str(error)) from error


def _why_not(opened: Association, peer: Address) -> NodeError:
    # a rejection that came at once is still queued: pynetdicom found its connection closed, and looked no further
    answer = opened.acceptor.primitive or opened.dul.peek_next_pdu()
    if isinstance(answer, A_ASSOCIATE) and answer.result:
        words = f"{answer.result_str}: {answer.reason_str}"
        kind = NotAccepted if answer.result == 0x01 else Unreachable
        return kind(f"{peer} rejected the association ({words}): check the AE titles on both sides")
    if opened.is_aborted and isinstance(answer, A_ASSOCIATE):
        return NotAccepted(f"{peer} accepts none of the presentation contexts that were offered")
    return Unreachable(f"{peer} cannot be reached or does not answer: check host and port, and that it listens")


def status_of(answer: object, peer: Address) -> int:
    """Read the status of an answer; raise ``NoAnswer``."""
    value = getattr(answer, "Status", None)
    if value is None:
        raise NoAnswer(f"{peer} did not answer: the association broke or was silent too long")
    return int(value)


def words_of(value: int | None) -> str:
    """Say what a status means, for people."""
    if value is None:
        return "no answer"
    return {"stored": "stored", "busy": "busy, try again", "refused": "refused"}[
        status.meaning(value)
    ] + f" ({value:04X})"


def is_stored(value: int | None) -> bool:
    """Say whether a status means that the peer has the instance."""
    return value is not None and status.meaning(value) == "stored"
