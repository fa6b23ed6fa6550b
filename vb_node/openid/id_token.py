"""The ID token: whether it is one of our provider, for us, for this login, and now (OpenID Connect Core 3.1.3.7)."""

from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from vb_node.errors import NodeError

# Signed by a key that only the provider has: "none" is signed by nobody, HS256 by whoever knows the client's secret.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
LEEWAY_S = 60


class NotLetIn(NodeError):
    """This person, or whoever it is, gets no session."""


class UnknownKey(NotLetIn):
    """The token is signed by a key that is not in the set; the provider may have a new one."""


@dataclass(frozen=True)
class Expected:
    """What the token must say."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str


def check(token: str, keys: KeySet, expected: Expected) -> dict[str, Any]:
    """Give the claims of a token that is good; raise ``NotLetIn``, or ``UnknownKey``."""
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    try:
        decoded = jwt.decode(token, keys, registry=registry)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "value": expected.issuer},
                "aud": {"essential": True, "value": expected.client_id},
            },
            {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": expected.access_token},
        )
        claims.validate(leeway=LEEWAY_S)
    except InvalidKeyIdError as error:
        raise UnknownKey("an ID token signed by a key of the provider's jwks_uri expected") from error
    except (JoseError, ValueError, TypeError, KeyError) as error:  # what is no token, or holds values of another kind
        raise NotLetIn(f"an ID token that holds expected: {type(error).__name__} {str(error)[:100]}") from error
    return dict(claims)
