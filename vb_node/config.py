"""One TOML file, read once into frozen settings.

``vb-node init`` writes a commented example (example.toml). A wrong key is refused by name. Any key may be given by
the environment instead (``VB_NODE_NODE__DATABASE=...``), which is where secrets belong.
"""

import json
import os
import tomllib
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from vb_node.errors import ConfigError

AeTitle = Annotated[str, Field(pattern=r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
SQLITE = "sqlite:///"
EXAMPLE = Path(__file__).with_name("example.toml").read_text("utf-8")
ViewerProfile = Literal["standard", "heat-map", "pdf", "objects", "key-images", "everything"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
HostName = Annotated[str, BeforeValidator(lambda text: str(text).lower()), Field(pattern=r"^[a-z0-9.:-]{1,253}$")]
MailAddress = Annotated[str, Field(pattern=r"^[^\s@<>,;\"]{1,64}@[A-Za-z0-9.-]{1,253}$")]
# As `openssl x509 -fingerprint -sha256` prints it, or without colons.
Fingerprint = Annotated[
    str, BeforeValidator(lambda text: str(text).replace(":", "").lower()), Field(pattern=r"^[0-9a-f]{64}$")
]


class Section(BaseModel):
    """What every table of the file shares."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSettings(Section):
    """``data`` is the folder of spool, results and ledger, relative to the configuration file."""

    ae_title: AeTitle = "VBNODE"
    data: Path = Path("data")
    database: str | None = None
    database_file: Path | None = None


class PeerSettings(Section):
    """Who may send; no ``hosts`` means from any address, ``certificate`` is the SHA-256 of its TLS certificate."""

    ae_title: AeTitle
    hosts: tuple[str, ...] = ()
    certificate: Fingerprint | None = None
    max_associations: Annotated[int, Field(ge=1)] | None = None


class ReceiveTlsSettings(Section):
    """The TLS of the listener or of the web station: PEM files."""

    certificate: Path
    key: Path
    ca: Path | None = None
    crl: Path | None = None
    require_peer: bool = True

    @model_validator(mode="after")
    def _can_know_peers(self) -> Self:
        if self.require_peer and self.ca is None:
            raise ValueError("require_peer needs ca, the authorities that sign the peers' certificates")
        return self


class DestinationTlsSettings(Section):
    """The sender's TLS to one destination: PEM files; ``certificate`` and ``key`` where it asks who we are."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    check_host: bool = True


class ReceiveSettings(Section):
    """The listener; limits count for each of its processes."""

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
        """Half the cores, four at most: the others unpack, send and compute."""
        return min(4, max(1, (os.cpu_count() or 1) // 2)) if self.processes == "auto" else self.processes

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
    """Which series go to which application, and where its results go; ``when`` is a rule of pipeline/rule.py."""

    name: Name
    application: Name = "virtual_biopsy"
    when: str = ""
    priority: int = 0
    destinations: tuple[Name, ...] = ()
    shadow: bool = False


class DestinationSettings(Section):
    """Where results go: an AE (``dimse``), a DICOMweb service (``stow``) or a folder.

    ``viewer_profile`` is one of dicom/viewers.py.
    """

    name: Name
    kind: Literal["dimse", "stow", "folder"] = "dimse"
    ae_title: AeTitle | None = None
    host: str = "127.0.0.1"
    port: Port = 104
    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")] | None = None
    headers: dict[str, str] = {}
    authorization_file: Path | None = None
    ca_file: Path | None = None
    folder: Path | None = None
    calling_ae_title: AeTitle | None = None
    query: bool = False
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
        if getattr(self, needed) is None:
            raise ValueError(f"a destination of kind {self.kind!r} needs {needed}")
        return self


class WorkSettings(Section):
    """The worker. ``engine`` is "local" in this version; ``memory_gb`` and ``network`` are the computation's."""

    engine: Literal["local"] = "local"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    lease_s: Annotated[float, Field(ge=3)] = 30.0
    max_runtime_s: Annotated[float, Field(gt=0)] = 1800.0
    memory_gb: Annotated[float, Field(gt=0)] = 16.0
    network: bool = False
    max_errors: Annotated[int, Field(ge=1)] = 3


class WebPeerSettings(Section):
    """Who may send by STOW-RS: by a token, a certificate, or both; ``ae_title`` is the name of what it sends."""

    ae_title: AeTitle
    hosts: tuple[str, ...] = ()
    token_file: Path | None = None
    certificate: Fingerprint | None = None

    @model_validator(mode="after")
    def _can_be_known(self) -> Self:
        if self.token_file is None and self.certificate is None:
            raise ValueError(f"web peer {self.ae_title} needs token_file or certificate, by which it is known")
        return self


class WebSettings(Section):
    """The web station: pages, API, STOW-RS and health.

    Limits of connections, instances and patience are those of [receive]; users are in the ledger (``vb-node users``).
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    max_body_mb: Annotated[int, Field(ge=1)] = 4096
    max_parts: Annotated[int, Field(ge=1)] = 10_000
    hosts: tuple[HostName, ...] = ()
    session_h: Annotated[float, Field(gt=0, le=24)] = 8.0
    metrics_token_file: Path | None = None
    tls: ReceiveTlsSettings | None = None
    peers: tuple[WebPeerSettings, ...] = ()

    @model_validator(mode="after")
    def _is_not_exposed(self) -> Self:
        if self.tls is None and not _is_loopback(self.host):
            raise ValueError(f"host {self.host} is no loopback address: that needs [web.tls], tokens are secrets")
        bound = [peer.ae_title for peer in self.peers if peer.certificate is not None]
        if bound and (self.tls is None or self.tls.ca is None):
            raise ValueError(f"web peers {bound} are bound to a certificate: that needs [web.tls] with ca")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RetentionSettings(Section):
    """What happens as the disk fills: without ``days`` nothing is ever deleted, only refused.

    Shares of the disk are 0-1. What is deleted was delivered; rows and audit trail stay.
    """

    days: Annotated[float, Field(gt=0)] | None = None
    warn_at: Annotated[float, Field(gt=0, le=1)] = 0.8
    stop_at: Annotated[float, Field(gt=0, le=1)] = 0.9
    stop_free_gb: Annotated[float, Field(ge=0)] = 5.0
    reserve_mb: Annotated[int, Field(ge=1)] = 64


class AuditSettings(Section):
    """The audit repository of the site (PS3.15 A.5 and A.6); without ``source`` the node is named by its AE title."""

    kind: Literal["syslog-tls"] = "syslog-tls"
    host: HostName
    port: Port = 6514
    source: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    site: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    close_notify: bool = True
    tls: DestinationTlsSettings


class MailSettings(Section):
    """The site's mail server; the password is that of ``user``, and comes from a file or the environment."""

    host: HostName
    port: Port = 587
    security: Literal["starttls", "tls"] = "starttls"
    sender: MailAddress
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1)]
    user: str | None = None
    password_file: Path | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        if (self.user is None) != (self.password is None and self.password_file is None):
            raise ValueError("user needs password_file (or the password by the environment), and they need user")
        return self


class WebhookSettings(Section):
    """Where alerts go as JSON, signed with the secret in a file."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]
    secret_file: Path
    ca_file: Path | None = None


class AlertsSettings(Section):
    """Whom to tell, and of what: later than ``objective_min``, silent for ``silent_h``, down for ``down_min``."""

    objective_min: Annotated[float, Field(gt=0)] = 30.0
    silent_h: Annotated[float, Field(gt=0)] = 24.0
    down_min: Annotated[float, Field(ge=0)] = 15.0
    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None

    @model_validator(mode="after")
    def _reaches_somebody(self) -> Self:
        if self.mail is None and self.webhook is None:
            raise ValueError("[alerts.mail] or [alerts.webhook] expected: alerts must reach somebody")
        return self


class VlmSettings(Section):
    """A vision-language model in a local folder (``model``), or behind the ``url`` of an OpenAI-compatible service."""

    model: Path | None = None
    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")] | None = None
    served_model: str | None = None
    api_key_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    box_format: Literal["auto", "xyxy_1000", "xyxy_pixels", "yxyx_1000"] = "auto"
    self_test: bool = True
    image_px: Annotated[int, Field(ge=64, le=2048)] = 768
    stride: Annotated[int, Field(ge=1, le=8)] = 2
    zoom: bool = True
    batch: Annotated[int, Field(ge=1, le=256)] = 8
    max_new_tokens: Annotated[int, Field(ge=16, le=4096)] = 128
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.model is None) == (self.url is None):
            raise ValueError("give either model, a local folder, or url, a service")
        if self.url is not None and self.served_model is None:
            raise ValueError("url needs served_model, the name under which the service has the model")
        return self


class VirtualBiopsySettings(Section):
    """The Virtual Biopsy application; what these change is part of a job's identity."""

    localizer: Literal["auto", "classical", "network", "vlm"] = "auto"
    vlm: VlmSettings | None = None
    contrast_when: str = ""
    must_have_contrast: bool = True
    probability_bands: bool = True
    parametric_map_mb: Annotated[float, Field(ge=0)] = 80.0

    @model_validator(mode="after")
    def _has_its_model(self) -> Self:
        if self.localizer == "vlm" and self.vlm is None:
            raise ValueError("localizer = 'vlm' needs [virtual_biopsy.vlm] with model or url")
        return self


class Settings(BaseSettings):
    """Everything that the node is told."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="VB_NODE_", env_nested_delimiter="__")

    node: NodeSettings = NodeSettings()
    receive: ReceiveSettings = ReceiveSettings()
    assemble: AssembleSettings = AssembleSettings()
    routes: tuple[RouteSettings, ...] = (RouteSettings(name="virtual-biopsy"),)
    destinations: tuple[DestinationSettings, ...] = ()
    work: WorkSettings = WorkSettings()
    virtual_biopsy: VirtualBiopsySettings = VirtualBiopsySettings()
    web: WebSettings | None = None
    retention: RetentionSettings = RetentionSettings()
    audit: AuditSettings | None = None
    alerts: AlertsSettings | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for kind, named in (("route", self.routes), ("destination", self.destinations)):
            names = [entry.name for entry in named]
            if doubled := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"each {kind} needs a name of its own, {sorted(doubled)} came twice")
        known = {destination.name for destination in self.destinations}
        asked = self.assemble.ask
        if asked is not None and asked not in {one.name for one in self.destinations if one.kind != "folder"}:
            raise ValueError(f"assemble.ask is {asked!r}: expected the name of a destination of kind 'dimse' or 'stow'")
        titles = {peer.ae_title for peer in self.receive.peers}
        for one in self.destinations:
            if one.commitment and one.ae_title not in titles:
                raise ValueError(
                    f"destination {one.name!r} has commitment = true: list its AE {one.ae_title} under "
                    f"[[receive.peers]] (now {sorted(titles)}), so that its report is let in"
                )
        for route in self.routes:
            if unknown := set(route.destinations) - known:
                raise ValueError(
                    f"route {route.name!r} sends to {sorted(unknown)}; [[destinations]] names {sorted(known)}"
                )
        return self

    @cached_property
    def data(self) -> Path:
        return self.node.data.resolve()

    @cached_property
    def database_url(self) -> str:
        if self.node.database_file is not None:
            try:
                return self.node.database_file.read_text("utf-8").strip()
            except OSError as error:
                raise ConfigError(f"node.database_file {self.node.database_file} cannot be read") from error
        return self.node.database or f"{SQLITE}{self.data / 'ledger.db'}"


def load(file: Path, home: Path | None = None) -> Settings:
    """Read a configuration file; paths in it are relative to its folder, or to ``home``.

    Raises
    ------
    ConfigError
        The file is missing, is no TOML, or a key is unknown or of the wrong kind: each is named.
    """
    return build(read(file, home), str(file))


def read(file: Path, home: Path | None = None) -> dict[str, Any]:
    """Read the values of a configuration file, TOML or what the supervisor keeps as JSON, with absolute paths."""
    try:
        text = file.read_text("utf-8")
        values: dict[str, Any] = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"configuration file {file} cannot be read ({error.strerror}): write one with `vb-node init {file}`"
        ) from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    _place_at((home or file.parent).resolve(), values)
    return values


def _place_at(home: Path, values: dict[str, Any]) -> None:
    """Make every path absolute, from the folder of the file."""
    node = values.setdefault("node", {})
    if isinstance(node, dict):
        node["data"] = str(home / str(node.get("data", "data")))
        if "database_file" in node:
            node["database_file"] = str(home / str(node["database_file"]))
        if str(node.get("database", "")).startswith(SQLITE):
            node["database"] = SQLITE + str(home / node["database"].removeprefix(SQLITE))
    for section in (
        values.get("receive"),
        values.get("web"),
        values.get("audit"),
        *_tables(values.get("alerts"), "mail", "webhook"),
        *values.get("destinations", ()),
    ):
        if isinstance(section, dict):
            _place_files(home, section, "folder", "authorization_file", "ca_file", "metrics_token_file")
            _place_files(home, section, "password_file", "secret_file")
            _place_files(home, section.get("tls"), "certificate", "key", "ca", "crl")
            peers = section.get("peers")
            for peer in peers if isinstance(peers, list) else ():
                _place_files(home, peer, "token_file")
    application = values.get("virtual_biopsy")
    if isinstance(application, dict):
        _place_files(home, application.get("vlm"), "model", "api_key_file", "ca_file")


def _tables(section: Any, *names: str) -> list[Any]:
    return [section.get(name) for name in names] if isinstance(section, dict) else []


def _place_files(home: Path, section: Any, *names: str) -> None:
    for name in set(names) & set(section if isinstance(section, dict) else ()):
        section[name] = str(home / str(section[name]))


def build(values: dict[str, Any], source: str = "settings") -> Settings:
    """Make settings of plain values; raise ``ConfigError`` naming each wrong key."""
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [f"  {_place(problem['loc'])}: {problem['msg']}{_came(problem)}" for problem in error.errors()]
        raise ConfigError(f"{source}:\n" + "\n".join(lines) + "\nsee `vb-node init` for every key") from error


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "file"


def _came(problem: Any) -> str:
    value = problem.get("input")
    return f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
