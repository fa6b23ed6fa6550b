"""A person signs in at the site's provider in a real Chromium, with and without JavaScript, and comes back."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import walk_through
from openid_provider import OpenIdProvider, openid_provider
from openid_site import OpenIdSite
from places import ROOT
from processes import free_port

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider(free_port()) as made:
        made.add("anna", preferred_username="anna", realm_access={"roles": ["auditors"]})
        yield made


@pytest.fixture(scope="module")
def site(provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdSite]:
    made = OpenIdSite(tmp_path_factory.mktemp("site"), provider).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def folder() -> Path:
    made = Path(os.environ.get("VB_NODE_ARTEFACTS", ROOT / "artefacts")) / "pages"
    made.mkdir(parents=True, exist_ok=True)
    return made


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without"])
def test_who_comes_back_from_the_provider_is_signed_in(
    site: OpenIdSite, provider: OpenIdProvider, folder: Path, script: bool
) -> None:
    seen = walk_through(site.url, folder, [{"path": "/account", "script": script}], subject="anna")

    (page,) = seen["pages"]
    assert "oidc:anna" in page["text"]
    assert f"the provider {provider.issuer}" in page["text"]
    assert page["buttons"] == []
    assert not [url for url in seen["foreign"] if not url.startswith(provider.issuer)]


def test_the_page_of_the_login_with_a_provider_holds_for_everybody(site: OpenIdSite, folder: Path) -> None:
    looks = [("light", 1280), ("dark", 1280), ("light", 390)]
    visits = [{"path": "/login?failed=503", "scheme": scheme, "width": width} for scheme, width in looks]

    seen = walk_through(site.url, folder, visits)

    assert (seen["errors"], seen["foreign"]) == ([], [])
    for page in seen["pages"]:
        assert page["violations"] == []
        assert page["overflow"] <= 0
        assert "Sign in with the hospital's account" in page["text"]
