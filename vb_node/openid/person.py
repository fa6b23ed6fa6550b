"""Who the claims of an ID token speak of, and what the site lets them do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vb_node.config import OidcSettings
from vb_node.openid.id_token import NotLetIn

PREFIX = "oidc:"
"""No local user's name has a colon: neither kind can take the other's name."""
NAME = re.compile(r"[A-Za-z0-9._@+|-]{1,59}")
LONGEST_SUBJECT = 255


@dataclass(frozen=True)
class Person:
    """A person as the provider knows them; without a role they may nothing."""

    issuer: str
    subject: str
    name: str
    role: str | None


def person_of(claims: Mapping[str, Any], settings: OidcSettings) -> Person:
    """Read name and role; raise ``NotLetIn`` where a person has no name that a user can have."""
    subject, name = claims.get("sub"), claims.get(settings.name_claim)
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise NotLetIn(f"a sub of 1 to {LONGEST_SUBJECT} characters expected")
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise NotLetIn(f"1 to 59 letters, digits or . _ @ + | - expected in the claim {settings.name_claim}")
    return Person(settings.issuer, subject, PREFIX + name, _role(claims, settings))


def _role(claims: Mapping[str, Any], settings: OidcSettings) -> str | None:
    """Give the role of the first line of ``roles`` that the person has."""
    found = _claim(claims, settings.role_claim)
    values = found if isinstance(found, list) else [found]
    return next((role for value, role in settings.roles.items() if value in values), None)


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Follow a dotted path; a claim whose own name has dots comes first."""
    found: Any = claims
    for name in (path,) if path in claims else path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
