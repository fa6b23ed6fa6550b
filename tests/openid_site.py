"""A web station whose people log in at a provider."""

from pathlib import Path

from openid_provider import OpenIdProvider
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
