"""Who may come in: the called AE title, the calling AE title and, where given, the peer's address and certificate fit.

Nobody else is answered (A-ASSOCIATE-RJ, PS3.8 9.3.4), and no more of them than there are places.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from vb_node.dimse import negotiation
from vb_node.dimse.guard import Limits, Stop
from vb_node.dimse.negotiation import (
    ACSE_PROVIDER,
    PERMANENT,
    PRESENTATION_PROVIDER,
    SERVICE_USER,
    TRANSIENT,
    Rejection,
    Request,
)

PROTOCOL_VERSION_1 = 0x0001  # a bit, the only one that is looked at (PS3.8 9.3.2)
CALLED_AE_UNKNOWN = Rejection(PERMANENT, SERVICE_USER, 7, "called AE title is not ours")
CALLING_AE_UNKNOWN = Rejection(PERMANENT, SERVICE_USER, 3, "calling AE title or its address is not a known peer")
OTHER_CERTIFICATE = Rejection(PERMANENT, SERVICE_USER, 1, "the certificate is not the one of this calling AE title")
CONTEXT_UNKNOWN = Rejection(PERMANENT, SERVICE_USER, 2, "application context name is not DICOM's")
VERSION_UNKNOWN = Rejection(TRANSIENT, ACSE_PROVIDER, 2, "protocol version 1 is not offered")
CONGESTED = Rejection(TRANSIENT, PRESENTATION_PROVIDER, 1, "the disk is too full (`[retention]`), or the node stops")
LIMIT_EXCEEDED = Rejection(TRANSIENT, PRESENTATION_PROVIDER, 2, "as many associations are open as are configured")


@dataclass(frozen=True)
class Peer:
    """Who may send; ``hosts`` are addresses and networks, none: from any address.

    ``certificate`` is the SHA-256 of its certificate, in hex.
    """

    ae_title: str
    hosts: tuple[str, ...] = ()
    certificate: str | None = None
    max_associations: int | None = None

    def is_at(self, host: str) -> bool:
        return not self.hosts or is_among(host, self.hosts)


def is_among(host: str, networks: Iterable[str]) -> bool:
    """Say whether an address is one of these, or in one of these networks."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None  # where "::" is listened on
    return any(one in ip_network(network) for network in networks for one in (address, mapped) if one is not None)


class Door:
    """Says who may come in, while there are places inside."""

    def __init__(self, ae_title: str, peers: Sequence[Peer] | None, limits: Limits, stop: Stop) -> None:
        self._ae_title, self._peers, self._limits, self._stop = ae_title, peers, limits, stop

    def check(self, request: Request, host: str, certificate: str | None) -> Rejection | None:
        """Give the first reason not to accept, in the order of SECURITY 2.2."""
        known = [peer for peer in self._named(request.calling) if peer.is_at(host)]
        refusals = (
            (VERSION_UNKNOWN, not request.protocol_version & PROTOCOL_VERSION_1),
            (CALLED_AE_UNKNOWN, request.called != self._ae_title),
            (CALLING_AE_UNKNOWN, not known),
            (OTHER_CERTIFICATE, not any(peer.certificate in (None, certificate) for peer in known)),
            (CONTEXT_UNKNOWN, request.application_context != negotiation.APPLICATION_CONTEXT),
            (CONGESTED, self._stop.is_set or self._limits.is_full()),
        )
        return next((rejection for rejection, is_so in refusals if is_so), None)

    def _named(self, calling: str) -> Sequence[Peer]:
        if self._peers is None:
            return [Peer(calling)] if calling and "\ufffd" not in calling else []
        return [peer for peer in self._peers if peer.ae_title == calling]

    @contextmanager
    def place(self, calling: str) -> Iterator[bool]:
        """Hold one of the places inside for a block; gives False when none is free."""
        wanted = {"associations": self._limits.max_associations}
        most = [peer.max_associations for peer in self._named(calling) if peer.max_associations is not None]
        if most:
            wanted[f"associations of {calling}"] = min(most)
        held = self._limits.places.take(wanted)
        try:
            yield bool(held)
        finally:
            self._limits.places.give(held)
