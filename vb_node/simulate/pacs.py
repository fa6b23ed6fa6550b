"""A PACS that does wrong: it waits for a node's results, fails as it is told to, and judges what the node does next."""

import hashlib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import evt

from vb_node.dimse import contexts, implementation, status
from vb_node.dimse.tls import ServerTls
from vb_node.errors import ConfigError
from vb_node.simulate.sender import Judgement

REJECT = (0x01, 0x01, 0x03)  # permanent, service user, calling AE title not recognised (PS3.8 9.3.4)
STORAGE_COMMITMENT, STUDY_ROOT_FIND = "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.1.2.2.1"
FROZEN_S, SLOW_S, STEP_S, MOST_SENDS = 60.0, 5.0, 0.2, 3
FAILURE = 0xC000
HANDSHAKE_S = 5.0


@dataclass
class Seen:
    """What a node has done so far; ``contents`` holds the digests that came under each SOP Instance UID."""

    associations: int = 0
    sends: Counter[str] = field(default_factory=Counter)
    contents: dict[str, set[str]] = field(default_factory=dict)
    questions: int = 0
    let_go_after_s: float | None = None

    def again(self) -> bool:
        """Say whether every instance has come at least twice."""
        return bool(self.sends) and all(count > 1 for count in self.sends.values())

    def is_one_content(self) -> bool:
        return bool(self.sends) and all(len(digests) == 1 for digests in self.contents.values())


@dataclass(frozen=True)
class Fault:
    """One way to do wrong: ``answer`` gives the status of a C-STORE by how often its instance has come (from 1).

    ``is_good`` judges a node; with ``at_end`` only when the time is over, since a node may still spoil it.
    """

    did: str
    expected: str
    is_good: Callable[[Seen], bool]
    answer: Callable[[int], int] = lambda _count: status.SUCCESS
    at_end: bool = False
    rejects: bool = False
    aborts: bool = False
    waits_s: float = 0.0


def _first(value: int) -> Callable[[int], int]:
    return lambda count: value if count == 1 else status.SUCCESS


def _is_patient(seen: Seen) -> bool:
    return seen.is_one_content() and max(seen.sends.values()) <= MOST_SENDS


SAME = "the same instances again, byte for byte"
FAULTS: dict[str, Fault] = {
    "none": Fault("stored everything", "instances", lambda seen: seen.is_one_content()),
    "refuse": Fault("rejected every association", "another try", lambda seen: seen.associations > 1, rejects=True),
    "busy": Fault(
        "answered A700 to each first try", SAME, lambda seen: seen.again() and seen.is_one_content(), _first(0xA700)
    ),
    "duplicate": Fault(
        "answered 0111 to everything",
        f"no instance more than {MOST_SENDS} times, no second content",
        _is_patient,
        lambda _count: status.DUPLICATE,
        at_end=True,
    ),
    "failure": Fault(
        "answered C000 to everything",
        f"no instance more than {MOST_SENDS} times in this time, no second content",
        _is_patient,
        lambda _count: FAILURE,
        at_end=True,
    ),
    "freeze": Fault(
        "took an instance and did not answer",
        f"the association is given up within {FROZEN_S:g} s",
        lambda seen: seen.let_go_after_s is not None and seen.let_go_after_s < FROZEN_S,
        waits_s=FROZEN_S,
    ),
    "abort": Fault(
        "stored and aborted before the answer",
        f"{SAME}, or a question whether they are there",
        lambda seen: seen.is_one_content() and (seen.again() or seen.questions > 0),
        aborts=True,
    ),
    "lie": Fault(
        "answered 0000 and stored nothing",
        "storage commitment or a query asks for them, or they come again",
        lambda seen: seen.questions > 0 or seen.again(),
    ),
    "slow": Fault(
        f"answered after {SLOW_S:g} s",
        "each instance once",
        lambda seen: seen.is_one_content() and max(seen.sends.values()) == 1,
        at_end=True,
        waits_s=SLOW_S,
    ),
}


class _Prompt(ssl.SSLSocket):
    """Shakes hands in some seconds: pynetdicom waits for it where it accepts, for ever, and accepts nobody else."""

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(HANDSHAKE_S)
        super().do_handshake(block)
        self.settimeout(None)


class Pacs:
    """An AE with one fault; it speaks TLS with ``tls``."""

    def __init__(self, fault: Fault, ae_title: str, address: tuple[str, int], tls: ServerTls | None = None) -> None:
        self.fault, self.seen = fault, Seen()
        self._over, self._one = threading.Event(), threading.Lock()
        ae = implementation.entity(ae_title)
        ae.supported_contexts = contexts.accepted_as_scp()
        ae.add_supported_context(STORAGE_COMMITMENT)
        ae.add_supported_context(STUDY_ROOT_FIND)
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._begin),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda _event: status.SUCCESS),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_ACTION, self._commit),
        ]
        context = tls.context() if tls else None
        if context is not None:
            context.sslsocket_class = _Prompt
        try:
            self._server: Any = ae.start_server(address, block=False, evt_handlers=handlers, ssl_context=context)
        except OSError as error:
            raise ConfigError(f"cannot listen on {address[0]}:{address[1]}: choose a free port and address") from error

    def _begin(self, event: Any) -> None:
        self.seen.associations += 1
        if self.fault.rejects:
            event.assoc.acse.send_reject(*REJECT)
            event.assoc.kill()

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        digest = hashlib.sha256(event.request.DataSet.getvalue()).hexdigest()
        with self._one:
            self.seen.sends[uid] += 1
            self.seen.contents.setdefault(uid, set()).add(digest)
            count = self.seen.sends[uid]
        self._wait(event.assoc)
        if self.fault.aborts and count == 1:
            event.assoc.abort()
        return self.fault.answer(count)

    def _wait(self, association: Any) -> None:
        """Keep the node waiting, and note when it has had enough."""
        begun = time.monotonic()
        while time.monotonic() - begun < self.fault.waits_s and not self._over.wait(STEP_S):
            if not association.dul.is_alive():  # it reads while we wait, and ends with its connection
                self.seen.let_go_after_s = time.monotonic() - begun
                return

    def _find(self, _event: Any) -> Any:
        self.seen.questions += 1
        yield status.SUCCESS, None

    def _commit(self, event: Any) -> tuple[int, Any]:
        self.seen.questions += 1
        return status.SUCCESS, event.action_information

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()


def judge(
    name: str, ae_title: str, address: tuple[str, int], seconds: float, tls: ServerTls | None = None
) -> Judgement:
    """Be a PACS with a fault until a node has taken it well, or the time is over."""
    fault = FAULTS[name]
    pacs = Pacs(fault, ae_title, address, tls)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (fault.at_end or not fault.is_good(pacs.seen)):
        time.sleep(STEP_S)
    seen, is_good = pacs.seen, fault.is_good(pacs.seen)
    pacs.close()
    came = f"{seen.associations} associations, {seen.sends.total()} sends of {len(seen.sends)} instances"
    if seen.questions:
        came += f", {seen.questions} questions"
    if seen.let_go_after_s is not None:
        came += f", given up after {seen.let_go_after_s:.0f} s"
    return Judgement(fault.did, fault.expected, came, is_good)
