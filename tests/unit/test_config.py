"""The configuration: read once, wrong keys refused by name, the example true."""

import re
from pathlib import Path

import pytest

from vb_node import config
from vb_node.errors import ConfigError


def _load(tmp_path: Path, text: str) -> config.Settings:
    file = tmp_path / "node.toml"
    file.write_text(text)
    return config.load(file)


def test_the_example_is_a_valid_configuration_of_defaults(tmp_path: Path) -> None:
    settings = _load(tmp_path, config.EXAMPLE)

    assert settings.assemble == config.AssembleSettings()
    assert settings.work == config.WorkSettings()
    assert settings.retention == config.RetentionSettings()
    assert settings.drift == config.DriftSettings()
    assert settings.virtual_biopsy == config.VirtualBiopsySettings()
    assert settings.receive.model_copy(update={"peers": ()}) == config.ReceiveSettings()


def test_the_example_names_every_key() -> None:
    sections = {"node": config.NodeSettings, "assemble": config.AssembleSettings, "work": config.WorkSettings}
    sections |= {"virtual_biopsy": config.VirtualBiopsySettings, "routes": config.RouteSettings}
    sections |= {"peers": config.PeerSettings, "receive.tls": config.ReceiveTlsSettings}
    sections |= {"destinations.tls": config.DestinationTlsSettings}
    sections |= {"drift": config.DriftSettings}
    sections |= {"retention": config.RetentionSettings, "web": config.WebSettings, "web.peers": config.WebPeerSettings}
    sections |= {"virtual_biopsy.vlm": config.VlmSettings, "audit": config.AuditSettings}
    sections |= {"alerts": config.AlertsSettings, "mail": config.MailSettings, "webhook": config.WebhookSettings}
    sections |= {"web.oidc": config.OidcSettings}

    keys = {key for section in sections.values() for key in section.model_fields} - {"tls", "peers"}  # tables
    missing = [key for key in keys if f"{key} =" not in config.EXAMPLE and f".{key}]" not in config.EXAMPLE]

    assert missing == []


def test_the_web_section_of_the_example_holds_when_it_is_uncommented(tmp_path: Path) -> None:
    _, section = config.EXAMPLE.split("# [web]", 1)

    settings = _load(tmp_path, "[web]" + section.replace("\n# ", "\n").replace("9f86d081...", "0" * 64))

    assert settings.web is not None
    assert settings.web.tls is not None
    assert settings.web.tls.ca == tmp_path / "peers-ca.pem"
    assert settings.web.peers[0].token_file == Path("/run/secrets/router")
    assert settings.web.hosts == ("node.hospital.example",)
    assert settings.web.metrics_token_file == Path("/run/secrets/metrics")
    assert settings.web.oidc is not None
    assert settings.web.oidc.roles == {"radiology-admins": "admin", "radiology": "operator"}
    assert settings.web.oidc.ca_file == tmp_path / "hospital-ca.pem"
    assert settings.web.oidc.label == config.OidcSettings.model_fields["label"].default
    beside = {"tls": None, "peers": (), "hosts": (), "metrics_token_file": None, "oidc": None}
    assert settings.web.model_copy(update=beside) == config.WebSettings()


def test_the_sections_audit_and_alerts_of_the_example_hold_when_they_are_uncommented(tmp_path: Path) -> None:
    section = config.EXAMPLE.split("# [audit]", 1)[1].split("# [web]", 1)[0]

    settings = _load(tmp_path, "[audit]" + section.replace("\n# ", "\n").replace('password = ""', ""))

    assert settings.audit is not None
    assert settings.audit.tls.ca == tmp_path / "hospital-ca.pem"
    assert settings.audit.port == config.AuditSettings.model_fields["port"].default
    assert settings.alerts is not None
    assert settings.alerts.mail is not None
    assert settings.alerts.mail.ca_file == tmp_path / "hospital-ca.pem"
    assert settings.alerts.webhook is not None
    assert settings.alerts.webhook.secret_file == Path("/run/secrets/webhook")
    beside = {"mail": settings.alerts.mail, "webhook": settings.alerts.webhook}
    assert settings.alerts == config.AlertsSettings(**beside)


def test_the_password_of_the_mail_server_comes_from_the_environment_and_shows_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VB_NODE_ALERTS__MAIL__PASSWORD", "open sesame")

    settings = _load(tmp_path, '[alerts.mail]\nhost = "m"\nsender = "a@b"\nto = ["c@d"]\nuser = "u"')

    assert settings.alerts is not None
    assert settings.alerts.mail is not None
    assert settings.alerts.mail.password is not None
    assert settings.alerts.mail.password.get_secret_value() == "open sesame"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[receive]\nprot = 11112", "receive.prot"),
        ("[recieve]\nport = 11112", "recieve"),
        ("[receive]\nport = 99999", "receive.port"),
        ('[node]\nae_title = "TOO_LONG_AN_AE_TITLE"', "node.ae_title"),
        ('[[routes]]\nname = "r"\ndestinations = ["nowhere"]', "nowhere"),
        ('[[destinations]]\nname = "d"\nkind = "folder"', "needs folder"),
        ('[[destinations]]\nname = "d"\nkind = "dimse"', "needs ae_title"),
        ('[receive.tls]\ncertificate = "c.pem"\nkey = "c.key"', "needs ca"),
        ('[[receive.peers]]\nae_title = "CT"\ncertificate = "' + "0" * 64 + '"', "needs [receive.tls]"),
        ('[[receive.peers]]\nae_title = "CT"\ncertificate = "0123"', "receive.peers.0.certificate"),
        ('[[receive.peers]]\nae_title = "CT"\nhosts = ["ct.hospital.example"]', "receive.peers.0.hosts.0: "),
        ('[[receive.peers]]\nae_title = "CT"\nhosts = ["10.1.2.3/16"]', "has host bits set"),
        ('[[receive.peers]]\nae_title = "CT"\nhosts = ["fe80::1%eth0"]', "an address without a zone expected"),
        ('[web]\n[[web.peers]]\nae_title = "R"\ntoken_file = "t"\nhosts = ["localhost"]', "web.peers.0.hosts.0: "),
        ('[web]\nhost = "0.0.0.0"', "needs [web.tls]"),
        ('[web]\n[[web.peers]]\nae_title = "R"', "needs token_file or certificate"),
        ('[web]\n[[web.peers]]\nae_title = "R"\ncertificate = "' + "0" * 64 + '"', "needs [web.tls]"),
        ('[assemble]\nask = "nobody"', "assemble.ask"),
        ('[work]\nengine = "magic"', "work.engine"),
        ('[virtual_biopsy]\nlocalizer = "vlm"', "needs [virtual_biopsy.vlm] with model or url"),
        ('[[routes]]\nname = "r"\n[routes.virtual_biopsy]\nlocalizer = "network"', "needs shadow = true"),
        ('[[routes]]\nname = "r"\nshadow = true\n[routes.virtual_biopsy]\nlocaliser = "x"', "virtual_biopsy.localiser"),
        ("[virtual_biopsy.vlm]\nbatch = 4", "either model, a local folder, or url"),
        ('[virtual_biopsy.vlm]\nmodel = "m"\nurl = "http://gpu/v1"', "either model, a local folder, or url"),
        ('[virtual_biopsy.vlm]\nurl = "http://gpu/v1"', "url needs served_model"),
        ('[virtual_biopsy.vlm]\nurl = "http://me:secret@gpu/v1"', "virtual_biopsy.vlm.url"),
        ("[audit]\nport = 6514", "audit.host"),
        ('[audit]\nhost = "a"\nport = 6514', "audit.tls"),
        ('[audit]\nhost = "a"\nkind = "udp"\n[audit.tls]\nca = "c.pem"', "audit.kind"),
        ("[alerts]\nsilent_h = 12", "alerts must reach somebody"),
        ('[alerts.mail]\nhost = "m"\nsender = "a@b"\nto = []', "alerts.mail.to"),
        ('[alerts.mail]\nhost = "m"\nsender = "a@b"\nto = ["a@b\\nBcc: c@d"]', "alerts.mail.to"),
        ('[alerts.mail]\nhost = "m"\nsender = "a@b"\nto = ["c@d"]\nuser = "u"', "needs password_file"),
        ('[alerts.mail]\nhost = "m"\nsender = "a@b"\nto = ["c@d"]\nsecurity = "none"', "alerts.mail.security"),
        ('[alerts.webhook]\nurl = "https://me:secret@duty"\nsecret_file = "s"', "alerts.webhook.url"),
        ("[node\n", "TOML"),
        ("node = 3", "node"),
    ],
)
def test_a_wrong_key_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        _load(tmp_path, text)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vb-node init"):
        config.load(tmp_path / "none.toml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = _load(tmp_path, '[node]\ndata = "here"')

    assert settings.data == tmp_path / "here"
    assert settings.database_url == f"sqlite:///{tmp_path / 'here' / 'ledger.db'}"


def test_every_path_is_relative_to_the_file(tmp_path: Path) -> None:
    text = '[node]\ndatabase = "sqlite:///x/l.db"\n[[destinations]]\nname = "d"\nkind = "folder"\nfolder = "out"'

    settings = _load(tmp_path, text)

    assert settings.database_url == f"sqlite:///{tmp_path / 'x' / 'l.db'}"
    assert settings.destinations[0].folder == tmp_path / "out"


def test_certificates_lie_relative_to_the_file_and_a_fingerprint_may_have_colons(tmp_path: Path) -> None:
    tls = '[receive.tls]\ncertificate = "node.pem"\nkey = "node.key"\nca = "ca.pem"\n'
    peer = f'[[receive.peers]]\nae_title = "CT"\ncertificate = "{":".join(["AB"] * 32)}"\n'
    destination = '[[destinations]]\nname = "d"\nae_title = "D"\n[destinations.tls]\nca = "d.pem"\n'

    settings = _load(tmp_path, tls + peer + destination)

    assert settings.receive.tls is not None
    assert settings.receive.tls.ca == tmp_path / "ca.pem"
    assert settings.receive.peers[0].certificate == "ab" * 32
    assert settings.destinations[0].tls is not None
    assert settings.destinations[0].tls.ca == tmp_path / "d.pem"


def test_a_secret_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VB_NODE_NODE__DATABASE", "postgresql+psycopg://secret")

    settings = _load(tmp_path, "[receive]\nport = 11113")

    assert settings.database_url == "postgresql+psycopg://secret"
    assert settings.receive.port == 11113


def test_the_model_folder_is_relative_to_the_file(tmp_path: Path) -> None:
    settings = _load(tmp_path, '[virtual_biopsy.vlm]\nmodel = "models/qwen"')

    assert settings.virtual_biopsy.vlm is not None
    assert settings.virtual_biopsy.vlm.model == tmp_path / "models" / "qwen"
