"""The tables of the line: receive, assemble, route, work, deliver, retain."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vb_node.config.application import VirtualBiopsySettings
from vb_node.config.section import (
    AeTitle,
    DestinationTlsSettings,
    Fingerprint,
    Name,
    Network,
    Port,
    ReceiveTlsSettings,
    Section,
    Url,
    ViewerProfile,
)


class NodeSettings(Section):
    """``data`` is the folder of spool, results and ledger, relative to the configuration file."""

    ae_title: AeTitle = "VBNODE"
    data: Path = Path("data")
    database: str | None = None
    database_file: Path | None = None


class PeerSettings(Section):
    """Who may send, from which addresses and networks (none: from any).

    ``certificate`` is the SHA-256 of its TLS certificate.
    """

    ae_title: AeTitle
    hosts: tuple[Network, ...] = ()
    certificate: Fingerprint | None = None
    max_associations: Annotated[int, Field(ge=1)] | None = None


class ReceiveSettings(Section):
    """The listener; its limits are those of all its processes together."""

    host: str = "127.0.0.1"
    port: Port = 11112
    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = "auto"
    max_associations: Annotated[int, Field(ge=1)] = 64
    max_pdu: Annotated[int, Field(ge=4096, le=1 << 20)] = 131072
    max_connections: Annotated[int, Field(ge=1)] = 256
    max_connections_per_host: Annotated[int, Field(ge=1)] = 20
    max_instance_mb: Annotated[int, Field(ge=1)] = 512
    stall_s: Annotated[float, Field(gt=0)] = 10.0
    idle_s: Annotated[float, Field(gt=0)] = 60.0
    tls: ReceiveTlsSettings | None = None
    peers: tuple[PeerSettings, ...] = ()

    @property
    def process_count(self) -> int:
        """One a core, four at most: Python runs one thread at a time in each."""
        return min(4, len(os.sched_getaffinity(0))) if self.processes == "auto" else self.processes

    @model_validator(mode="after")
    def _certificates_can_be_seen(self) -> Self:
        bound = [peer.ae_title for peer in self.peers if peer.certificate is not None]
        if bound and (self.tls is None or self.tls.ca is None):
            raise ValueError(f"peers {bound} are bound to a certificate: that needs [receive.tls] with ca")
        return self


class AssembleSettings(Section):
    """When a series is whole: ``quiet_s`` after the last instance of its study, at the latest after ``force_after_s``.

    Evidence shortens the wait: a count, by ``ask`` (the name of a destination) or by headers, and unbroken geometry
    after ``settle_s`` without anything new. After a restart of the listener in mid-series it must have been up for
    ``gate_s`` (3 x quiet_s if not given) first.
    """

    quiet_s: Annotated[float, Field(gt=0)] = 60.0
    force_after_s: Annotated[float, Field(gt=0)] = 3600.0
    gate_s: Annotated[float, Field(ge=0)] | None = None
    settle_s: Annotated[float, Field(ge=0)] = 5.0
    ask: Name | None = None

    @property
    def restart_gate_s(self) -> float:
        return 3 * self.quiet_s if self.gate_s is None else self.gate_s


class RouteSettings(Section):
    """Which series go to which application, and where its results go; ``when`` is a rule of pipeline/rule.py.

    A shadow route computes, is compared with the live result, and sends nothing; ``virtual_biopsy`` is what it
    computes with instead of the node's own.
    """

    name: Name
    application: Name = "virtual_biopsy"
    when: str = ""
    priority: int = 0
    destinations: tuple[Name, ...] = ()
    shadow: bool = False
    virtual_biopsy: VirtualBiopsySettings | None = None

    @model_validator(mode="after")
    def _tries_in_the_shadow(self) -> Self:
        if self.virtual_biopsy is not None and not self.shadow:
            raise ValueError("a route's own virtual_biopsy needs shadow = true: what is sent has the node's settings")
        return self


class DestinationSettings(Section):
    """Where results go: an AE (``dimse``), a DICOMweb service (``stow``) or a folder.

    ``viewer_profile`` is one of dicom/viewers.py.
    """

    name: Name
    kind: Literal["dimse", "stow", "folder"] = "dimse"
    ae_title: AeTitle | None = None
    host: str = "127.0.0.1"
    port: Port = 104
    url: Url | None = None
    headers: dict[str, str] = {}
    authorization_file: Path | None = None
    ca_file: Path | None = None
    folder: Path | None = None
    calling_ae_title: AeTitle | None = None
    query: bool = True
    commitment: bool = False
    viewer_profile: ViewerProfile = "standard"
    retry_for_h: Annotated[float, Field(gt=0)] = 72.0
    timeout_s: Annotated[float, Field(gt=0)] = 25.0
    tls: DestinationTlsSettings | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        needed = {"dimse": "ae_title", "stow": "url", "folder": "folder"}[self.kind]
        if self.commitment and self.kind != "dimse":
            raise ValueError(f"commitment = true is for destinations of kind 'dimse', not {self.kind!r}")
        if self.tls is not None and self.kind == "folder":
            raise ValueError("tls is for destinations of kind 'dimse' and 'stow', not 'folder'")
        if self.tls is not None and self.kind == "stow" and (self.ca_file or not (self.url or "").startswith("https:")):
            raise ValueError("of a destination of kind 'stow', tls needs a url of https, and its ca instead of ca_file")
        if getattr(self, needed) is None:
            raise ValueError(f"a destination of kind {self.kind!r} needs {needed}")
        return self


class WorkSettings(Section):
    """The worker. ``engine`` is "local" in this version; ``memory_gb``, ``network``, ``warm`` are the computation's."""

    engine: Literal["local"] = "local"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    lease_s: Annotated[float, Field(ge=3)] = 30.0
    max_runtime_s: Annotated[float, Field(gt=0)] = 1800.0
    memory_gb: Annotated[float, Field(gt=0)] = 16.0
    network: bool = False
    warm: bool = True
    max_errors: Annotated[int, Field(ge=1)] = 3


class RetentionSettings(Section):
    """What happens as the disk fills: without ``days`` nothing is ever deleted, only refused.

    Shares of the disk are 0-1. What is deleted was delivered; rows and audit trail stay.
    """

    days: Annotated[float, Field(gt=0)] | None = None
    warn_at: Annotated[float, Field(gt=0, le=1)] = 0.8
    stop_at: Annotated[float, Field(gt=0, le=1)] = 0.9
    stop_free_gb: Annotated[float, Field(ge=0)] = 5.0
    reserve_mb: Annotated[int, Field(ge=1)] = 64


class DriftSettings(Section):
    """What counts as a change of what comes and of what is found.

    The results of the last ``recent_days`` are laid beside those of ``reference_days`` before them.
    """

    recent_days: Annotated[float, Field(gt=0)] = 7.0
    reference_days: Annotated[float, Field(gt=0)] = 60.0
    least_count: Annotated[int, Field(ge=20)] = 50
    chance: Annotated[float, Field(gt=0, lt=1)] = 0.001
    least_distance: Annotated[float, Field(ge=0, lt=1)] = 0.15
