"""A web station whose people log in at a provider, and the way of a browser there and back."""

from pathlib import Path

import httpx2
from openid_provider import OpenIdProvider
from people import Browser
from web_process import WebProcess

from storage.schema import Event

OIDC = """
[web.oidc]
issuer = "{provider.issuer}"
client_id = "{provider.client_id}"
client_secret_file = "client"
role_claim = "realm_access.roles"
roles = {{ "pacs-admins" = "admin", "auditors" = "auditor", "radiology" = "viewer" }}
label = "Sign in with the hospital's account"
"""


class OpenIdSite(WebProcess):
    """A web station whose people log in at a provider."""

    def __init__(self, home: Path, provider: OpenIdProvider, more: str = "", scheme: str = "http") -> None:
        super().__init__(home, more, scheme)
        provider.register(f"{self.url}/login/openid/back")
        self.config.write_text(self.config.read_text() + OIDC.format(provider=provider))
        (home / "client").write_text(f"{provider.client_secret}\n")

    def failures(self) -> list[Event]:
        return self.events(event="login failed")


def consent(begun: httpx2.Response, subject: str) -> str:
    """Log in at the provider; give the address that it sends the browser back to."""
    return httpx2.post(begun.headers["location"], data={"sub": subject}).headers["location"]


def sign_in(browser: Browser, subject: str, after: str = "/") -> httpx2.Response:
    """Go the whole way as a person does; give the last answer."""
    begun = browser.get("/login/openid", params={"next": after})
    return browser.get(consent(begun, subject))


def person(provider: OpenIdProvider, subject: str, *roles: str, name: str | None = None) -> str:
    """Add a person with roles, or change them; give the subject."""
    provider.add(subject, preferred_username=name or subject, realm_access={"roles": list(roles)})
    return subject
