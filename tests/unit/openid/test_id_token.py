"""Whatever comes as an ID token, it is good or it is refused: nothing else happens."""

import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc.jwk import KeySet
from openid_provider import keyed, new_key, signed

from vb_node.openid.id_token import Expected, NotLetIn, UnknownKey, check

KEY = new_key("first")
KEYS = KeySet([KEY, new_key("other")])
EXPECTED = Expected("https://login.example", "node", "nonce of this login", "access token")
GOOD = {"iss": "https://login.example", "sub": "s1", "aud": "node", "nonce": "nonce of this login", "iat": 0}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "auth_time", "amr", "acr", "jti", "crit")


def _good(**changed: Any) -> dict[str, Any]:
    return GOOD | {"exp": int(time.time()) + 100} | changed


def test_a_good_token_gives_its_claims() -> None:
    assert check(signed(_good(), KEY), KEYS, EXPECTED)["sub"] == "s1"


@given(st.text(max_size=200))
@example("..")
@example("e30.e30.")
@example("eyJhbGciOiJFUzI1NiJ9.W10.AA")
@example("eyJhbGciOlsiRVMyNTYiXX0.e30.AA")
@example("W10.W10.AA")
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(NotLetIn):
        check(text, KEYS, EXPECTED)


@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4))
@example({"exp": 10**400})
@example({"iat": -(10**400)})
def test_claims_of_any_kind_are_refused_or_hold_what_is_expected(changed: dict[str, Any]) -> None:
    try:
        claims = check(signed(_good(**changed), KEY), KEYS, EXPECTED)
    except NotLetIn:
        return

    assert (claims["iss"], claims["nonce"]) == (EXPECTED.issuer, EXPECTED.nonce)
    assert EXPECTED.client_id in (claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]])
    assert isinstance(claims["sub"], str)
    assert claims["exp"] > time.time() - 61


@given(at=st.integers(min_value=0, max_value=10_000), bit=st.integers(min_value=0, max_value=5))
def test_a_token_with_another_letter_is_refused(at: int, bit: int) -> None:
    token = signed(_good(), KEY)
    at %= len(token) - 1  # of the last letter some bits are padding
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = "x" if token[at] == "." else letters[letters.index(token[at]) ^ (1 << bit)]

    with pytest.raises(NotLetIn):
        check(token[:at] + other + token[at + 1 :], KEYS, EXPECTED)


@pytest.mark.parametrize("keys", [KeySet([]), KeySet([new_key("other")])], ids=["none", "another"])
def test_a_key_that_is_not_known_is_told_as_such(keys: KeySet) -> None:
    with pytest.raises(UnknownKey):
        check(signed(_good(), KEY), keys, EXPECTED)


def test_a_word_that_both_sides_know_signs_nothing() -> None:
    with pytest.raises(NotLetIn, match="HS256"):
        check(keyed(_good(), b"the client's secret"), KEYS, EXPECTED)
