"""Login at a provider over TLS, and while the provider is away: each with a web station of its own."""

from pathlib import Path

import httpx2
import pytest
from certificates import Authority
from openid_provider import openid_provider
from openid_site import OpenIdSite, consent, person
from people import Browser, add_users
from processes import free_port

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")


def test_w_04_under_tls_what_begins_is_kept_for_this_host_alone(tmp_path: Path) -> None:
    own = Authority(tmp_path / "ca").issue("node")
    tls = f'[web.tls]\ncertificate = "{own.pem}"\nkey = "{own.key}"\nrequire_peer = false\n'
    with openid_provider(free_port()) as provider:
        site = OpenIdSite(tmp_path, provider, tls, "https").start()
        with Browser(site.url) as browser:
            begun = browser.get("/login/openid")
            entered = browser.get(consent(begun, person(provider, "anna", "auditors")))
            seen = browser.get("/api/v1/audit").status_code
        site.stop()

    kept = begun.headers["set-cookie"]
    assert kept.startswith("__Host-vb_node_login=")
    assert "Secure" in kept.split("; ")
    assert httpx2.URL(begun.headers["location"]).params["redirect_uri"].startswith(f"{site.url}/")
    assert "__Host-vb_node=" in entered.headers["set-cookie"]
    assert seen == 200


def test_a_provider_that_is_away_is_told_and_local_users_work(tmp_path: Path) -> None:
    with openid_provider(free_port()) as provider:
        site = OpenIdSite(tmp_path, provider).start()
        with Browser(site.url) as browser:
            stranger = browser.get("/", headers={"Accept": "text/html"})
    add_users(site.database)
    with Browser(site.url) as browser:
        asked = browser.get("/login/openid", headers={"Accept": "text/html"})
        page = browser.get(asked.headers["location"], headers={"Accept": "text/html"})
        local = browser.log_in("viewer")
    site.stop()

    assert stranger.headers["location"].startswith("/login")  # nobody was added: the provider names people
    assert "The provider cannot be asked now" in page.text
    assert local.status_code == 303
