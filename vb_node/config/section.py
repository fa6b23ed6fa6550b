"""What the tables of the configuration file are made of: kinds of values, and TLS, which several tables have."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _network(text: str) -> str:
    """Check an address or a network; a zone (``%eth0``) would be looked at by nobody."""
    try:
        if "%" in text:
            raise ValueError("an address without a zone expected")
        ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"an IP address or a network such as 10.1.0.0/16 expected ({error}); names are not looked up, for who "
            "answers for them could let anybody in"
        ) from error
    return text


AeTitle = Annotated[str, Field(pattern=r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
ViewerProfile = Literal["standard", "heat-map", "pdf", "objects", "key-images", "everything"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Network = Annotated[str, AfterValidator(_network)]
HostName = Annotated[str, BeforeValidator(lambda text: str(text).lower()), Field(pattern=r"^[a-z0-9.:-]{1,253}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]
MailAddress = Annotated[str, Field(pattern=r"^[^\s@<>,;\"]{1,64}@[A-Za-z0-9.-]{1,253}$")]
# As `openssl x509 -fingerprint -sha256` prints it, or without colons.
Fingerprint = Annotated[
    str, BeforeValidator(lambda text: str(text).replace(":", "").lower()), Field(pattern=r"^[0-9a-f]{64}$")
]


class Section(BaseModel):
    """What every table of the file shares."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
