"""A sender that does wrong: each fault says what it did, what a good node answers, and what came."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from pydicom.uid import MRImageStorage

from vb_node.dimse.scu import Address
from vb_node.simulate import series
from vb_node.simulate.series import Encoded
from vb_node.simulate.wire import Gone, Rejected, Wire

SUCCESS = 0x0000
PAUSE_S, LATE_S, PATIENCE_S, ECHO_S, RECOVERY_S, MANY = 1.0, 5.0, 20.0, 5.0, 10.0, 20
NOBODY = "NOBODY_KNOWS_ME"
CALLED_UNKNOWN, CALLING_UNKNOWN, TRANSIENT = (1, 1, 7), (1, 1, 3), 2


@dataclass(frozen=True)
class Judgement:
    """What a fault did, what should come of it, what came, and whether that is good."""

    did: str
    expected: str
    came: str
    is_good: bool


@dataclass(frozen=True)
class Target:
    """The node, and who we say we are."""

    peer: Address
    calling: str

    def send(self, instances: Sequence[Encoded], pause_s: float = 0.0) -> list[int]:
        """Send over one association and release it; give the statuses."""
        with Wire(self.peer, self.calling) as wire:
            wire.associate(MRImageStorage)
            statuses = []
            for instance in instances:
                statuses.append(wire.store(instance))
                time.sleep(pause_s)
            wire.release()
        return statuses

    def echoes(self) -> bool:
        """Say whether the node answers a C-ECHO in good time."""
        begun = time.monotonic()
        try:
            with Wire(self.peer, self.calling) as wire:
                wire.associate(MRImageStorage)
                is_answered = wire.echo() == SUCCESS
                wire.release()
        except (Gone, Rejected):
            return False
        return is_answered and time.monotonic() - begun < ECHO_S


def _all_stored(did: str, statuses: Sequence[int]) -> Judgement:
    return Judgement(did, "0000 for each instance", _words(statuses), set(statuses) == {SUCCESS})


def _words(statuses: Sequence[int]) -> str:
    return ", ".join(f"{statuses.count(status)} x {status:04X}" for status in sorted(set(statuses)))


def slow(target: Target) -> Judgement:
    """Pause after every instance."""
    return _all_stored(f"a series with {PAUSE_S:g} s after each instance", target.send(series.make(), PAUSE_S))


def abort(target: Target) -> Judgement:
    """Break off in the middle of an instance in mid-series, then send the whole series again."""
    instances = series.make()
    half = len(instances) // 2
    with Wire(target.peer, target.calling) as wire:
        wire.associate(MRImageStorage)
        first = [wire.store(instance) for instance in instances[:half]]
        message = b"".join(wire.store_pdus(instances[half]))
        wire.send(message[: len(message) // 2])
    return _all_stored("a series broken off in mid-instance, then all of it again", first + target.send(instances))


def duplicates(target: Target) -> Judgement:
    """Send every instance twice in one association, and all again in another."""
    instances = series.make()
    twice = [instance for instance in instances for _ in range(2)]
    return _all_stored("every instance three times, byte for byte", target.send(twice) + target.send(instances))


def out_of_order(target: Target) -> Judgement:
    instances = series.make()
    random.Random(1).shuffle(instances)  # noqa: S311  an order, guards no secret
    return _all_stored("a series in random order", target.send(instances))


def late_slice(target: Target) -> Judgement:
    *early, late = series.make()
    statuses = target.send(early)
    time.sleep(LATE_S)
    return _all_stored(f"a series whose last instance came {LATE_S:g} s late", statuses + target.send([late]))


def wrong_ae(target: Target) -> Judgement:
    return _rejection("an association of an unknown calling AE title", target.peer, NOBODY, CALLING_UNKNOWN)


def wrong_called_ae(target: Target) -> Judgement:
    peer = replace(target.peer, ae_title=NOBODY)
    return _rejection("an association to another called AE title", peer, target.calling, CALLED_UNKNOWN)


def _rejection(did: str, peer: Address, calling: str, expected: tuple[int, int, int]) -> Judgement:
    words = f"A-ASSOCIATE-RJ {'/'.join(map(str, expected))} or a closed connection"
    with Wire(peer, calling) as wire:
        try:
            wire.associate(MRImageStorage)
        except Rejected as rejected:
            came = tuple(rejected.args)
            return Judgement(did, words, f"A-ASSOCIATE-RJ {'/'.join(map(str, came))}", came == expected)
        except Gone as gone:
            return Judgement(did, words, str(gone), True)
    return Judgement(did, words, "the association was accepted", False)


def other_content(target: Target) -> Judgement:
    """Send an instance, then another content under its UID."""
    first, *_ = series.make(1)
    return _refusal("another content under a known SOP Instance UID", target, series.other_content(first), [first])


def truncated(target: Target) -> Judgement:
    instance, *_ = series.make(1)
    cut = Encoded(instance.sop_class_uid, instance.sop_instance_uid, instance.data[: len(instance.data) // 2])
    return _refusal("a data set cut in the middle", target, cut)


def garbage(target: Target) -> Judgement:
    instance, *_ = series.make(1)
    noise = random.Random(1).randbytes(5000)  # noqa: S311  noise, guards no secret
    return _refusal(
        "a data set of random bytes", target, Encoded(instance.sop_class_uid, instance.sop_instance_uid, noise)
    )


def _refusal(did: str, target: Target, wrong: Encoded, before: Sequence[Encoded] = ()) -> Judgement:
    expected = "any status but Success"
    try:
        *early, status = target.send([*before, wrong])
    except Gone as gone:
        return Judgement(did, expected, str(gone), not before)
    return Judgement(did, expected, f"{status:04X}", status != SUCCESS and set(early) <= {SUCCESS})


def idle(target: Target) -> Judgement:
    return _stall("a connection that sends nothing", target, b"", shakes_hands=False)


def half_pdu(target: Target) -> Judgement:
    return _stall("a connection that sends one byte and stalls", target, b"\x01")


def _stall(did: str, target: Target, sent: bytes, *, shakes_hands: bool = True) -> Judgement:
    expected = f"others are served, and the connection is closed within {PATIENCE_S:g} s"
    with Wire(target.peer, target.calling, shakes_hands=shakes_hands) as wire:
        wire.send(sent)
        is_served, is_closed = target.echoes(), wire.is_closed_within(PATIENCE_S)
    came = f"others {'were' if is_served else 'were not'} served, it {'was' if is_closed else 'was not'} closed"
    return Judgement(did, expected, came, is_served and is_closed)


def many_associations(target: Target) -> Judgement:
    """Open many associations at once, and let them go."""
    opened, refused, lost = 0, 0, 0
    with ExitStack() as stack:
        for _ in range(MANY):
            try:
                wire = stack.enter_context(Wire(target.peer, target.calling))
                wire.associate(MRImageStorage)
                opened += 1
            except Rejected as rejected:
                refused += rejected.args[0] == TRANSIENT
                lost += rejected.args[0] != TRANSIENT
            except Gone:
                refused += 1
    came = f"{opened} accepted, {refused} refused for now, {lost} rejected for good"
    expected = "each is accepted or refused for now (RJ 2/3/2, or closed)"
    return Judgement(f"{MANY} associations at once", expected, came, opened > 0 and lost == 0)


FAULTS: dict[str, Callable[[Target], Judgement]] = {
    "slow": slow,
    "abort": abort,
    "duplicates": duplicates,
    "out-of-order": out_of_order,
    "late-slice": late_slice,
    "wrong-ae": wrong_ae,
    "wrong-called-ae": wrong_called_ae,
    "other-content": other_content,
    "truncated": truncated,
    "garbage": garbage,
    "idle": idle,
    "half-pdu": half_pdu,
    "many-associations": many_associations,
}


def judge(fault: str, peer: Address, calling: str) -> Judgement:
    """Do one fault to a node, and ask it for an echo afterwards."""
    target = Target(peer, calling)
    try:
        judgement = FAULTS[fault](target)
    except Gone as gone:
        judgement = Judgement(f"fault {fault}", "an answer", str(gone), False)
    except Rejected as rejected:
        came = f"A-ASSOCIATE-RJ {'/'.join(map(str, rejected.args))}: is {calling} a peer of the node?"
        return Judgement(f"fault {fault}", "an association", came, False)
    deadline = time.monotonic() + RECOVERY_S
    while time.monotonic() < deadline:
        if target.echoes():
            return judgement
        time.sleep(PAUSE_S)
    return Judgement(judgement.did, judgement.expected, f"{judgement.came}; no echo afterwards", False)
