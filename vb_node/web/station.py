"""The station that serves HTTP: pages, API, the door for STOW-RS, and the node's health."""

import ssl
import threading
from functools import partial

from storage.database import Database
from storage.disk import Disk
from vb_node.config import Settings, WebSettings
from vb_node.dimse.listener import bind
from vb_node.dimse.tls import ServerTls, TlsFiles
from vb_node.errors import ConfigError
from vb_node.openid.provider import Provider
from vb_node.runtime import line, listen, supervised
from vb_node.runtime.node import WEB, heard_as
from vb_node.runtime.receive import Receiver
from vb_node.web.account_page import AccountPage
from vb_node.web.app import build
from vb_node.web.audit_page import AuditPage
from vb_node.web.destinations_page import DestinationsPage
from vb_node.web.door import Door
from vb_node.web.drift_page import DriftPage
from vb_node.web.files import Most
from vb_node.web.gate import Gate
from vb_node.web.health import Health
from vb_node.web.intake import Intake
from vb_node.web.login import Logins
from vb_node.web.metrics import Metrics
from vb_node.web.openid_login import OpenIdLogins
from vb_node.web.pages import Pages
from vb_node.web.paper import House, Paper
from vb_node.web.rules_page import RulesPage
from vb_node.web.server import Server
from vb_node.web.shadow_page import ShadowPage
from vb_node.web.slices import Slices
from vb_node.web.stow import Bounds, Studies
from vb_node.web.upload_page import UploadPage
from vb_node.web.volume_page import VolumePage

# A process of the station that receives: while it is dead, silence says nothing of a study.
NAME = heard_as(WEB)


def serve(database: Database, settings: Settings, stop: threading.Event, _number: int = 1) -> None:
    """Serve until told to stop; raise ``ConfigError``."""
    web = settings.web
    if web is None:
        raise ConfigError("a section [web] of the configuration expected: without it nothing is served by HTTP")
    provider = None if web.oidc is None else Provider(web.oidc)
    door, tls = Door(web.peers), _tls(web)  # what is wrong with files is told before anything begins

    def start(receiver: Receiver, disk: Disk) -> Server:
        limits = listen.limits_of(settings, disk)
        studies = Studies(receiver, door, Bounds(web.max_body_mb << 20, web.max_parts, limits), settings.data)
        logins = Logins(database, web.session_h * 3600)
        health = Health(database, disk, receiver.spool.root, NAME)
        slices = Slices(receiver.spool, line.results_of(settings))
        house = House(database, settings, disk, slices)
        paper = Paper(house)
        most = Most(web.max_body_mb << 20, limits.max_instance_bytes, web.max_parts, settings.data)
        pages = (
            Pages(house, paper),
            VolumePage(house, paper),
            AuditPage(house, paper),
            DestinationsPage(house, paper),
            RulesPage(house, paper, Intake(receiver), most),
            ShadowPage(house, paper),
            DriftPage(house, paper),
            UploadPage(house, paper, receiver, most),
            AccountPage(house, paper, logins),
        )
        by_openid = () if provider is None else (OpenIdLogins(provider, logins, paper),)
        answering = health, Metrics(database, settings, disk), studies, logins, *by_openid, *pages
        app = build(database, settings, paper, [route for one in answering for route in one.routes()])
        listening = supervised.own.listening or bind((web.host, web.port))
        return Server(Gate(app, web.hosts), listening, limits, stop, tls, partial(receiver.tell_rejection, ""))

    listen.take(database, settings, stop, NAME, start)


def _tls(web: WebSettings) -> ssl.SSLContext | None:
    if web.tls is None:
        return None
    files = TlsFiles(web.tls.certificate, web.tls.key, web.tls.ca, web.tls.crl)
    return ServerTls(files, web.tls.require_peer, "web.tls").context()
