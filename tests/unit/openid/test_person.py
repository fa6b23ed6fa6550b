"""Who the claims speak of, and which role they give."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb_node.config import OidcSettings
from vb_node.openid.id_token import NotLetIn
from vb_node.openid.person import NAME, Person, person_of

ROLES = {"admins": "admin", "readers": "viewer"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def _settings(**changed: Any) -> OidcSettings:
    values = {"issuer": "https://login.example", "client_id": "node", "client_secret_file": Path("secret")}
    return OidcSettings(**values | {"role_claim": "groups", "roles": ROLES} | changed)


def _person(settings: OidcSettings, **claims: Any) -> Person:
    return person_of({"sub": "s1", "preferred_username": "anna"} | claims, settings)


@pytest.mark.parametrize(
    ("role_claim", "claims", "role"),
    [
        ("groups", {"groups": ["staff", "readers"]}, "viewer"),
        ("groups", {"groups": "readers"}, "viewer"),
        ("groups", {"groups": ["readers", "admins"]}, "admin"),  # the first line of roles, not of the claim
        ("realm_access.roles", {"realm_access": {"roles": ["admins"]}}, "admin"),
        ("https://site.example/roles", {"https://site.example/roles": ["admins"]}, "admin"),
        ("groups", {"groups": ["admins "]}, None),
        ("groups", {}, None),
    ],
)
def test_the_role_is_that_of_the_first_line_that_fits(role_claim: str, claims: dict[str, Any], role: str) -> None:
    found = _person(_settings(role_claim=role_claim), **claims)

    assert found == Person("https://login.example", "s1", "oidc:anna", role)


def test_the_name_is_that_of_the_claim_that_is_configured() -> None:
    found = _person(_settings(name_claim="email"), email="anna@site.example")

    assert found.name == "oidc:anna@site.example"


@given(name=JSON, subject=JSON, groups=JSON)
def test_whatever_the_claims_hold_a_person_is_whole_or_is_refused(name: Any, subject: Any, groups: Any) -> None:
    claims = {"sub": subject, "preferred_username": name, "groups": groups}
    try:
        found = person_of(claims, _settings())
    except NotLetIn:
        return

    assert NAME.fullmatch(found.name.removeprefix("oidc:"))
    assert found.subject == subject
    assert found.role in (None, "admin", "viewer")
