"""One TOML file, read once into frozen settings.

``vb-node init`` writes a commented example (example.toml). A wrong key is refused by name. Any key may be given by
the environment instead (``VB_NODE_NODE__DATABASE=...``), which is where secrets belong.
"""

from vb_node.config.application import VirtualBiopsySettings, VlmSettings
from vb_node.config.file import EXAMPLE, build, load, read
from vb_node.config.line import (
    AssembleSettings,
    DestinationSettings,
    DriftSettings,
    NodeSettings,
    PeerSettings,
    ReceiveSettings,
    RetentionSettings,
    RouteSettings,
    WorkSettings,
)
from vb_node.config.outside import (
    AlertsSettings,
    AuditSettings,
    MailSettings,
    OidcSettings,
    WebhookSettings,
    WebPeerSettings,
    WebSettings,
)
from vb_node.config.section import DestinationTlsSettings, ReceiveTlsSettings, ViewerProfile
from vb_node.config.settings import Settings

__all__ = [
    "AlertsSettings",
    "AssembleSettings",
    "AuditSettings",
    "DestinationSettings",
    "DestinationTlsSettings",
    "DriftSettings",
    "EXAMPLE",
    "MailSettings",
    "NodeSettings",
    "OidcSettings",
    "PeerSettings",
    "ReceiveSettings",
    "ReceiveTlsSettings",
    "RetentionSettings",
    "RouteSettings",
    "Settings",
    "ViewerProfile",
    "VirtualBiopsySettings",
    "VlmSettings",
    "WebPeerSettings",
    "WebSettings",
    "WebhookSettings",
    "WorkSettings",
    "build",
    "load",
    "read",
]
