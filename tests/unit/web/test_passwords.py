"""Passwords are kept as argon2id hashes, and a name without one costs the same time."""

import time
from collections.abc import Callable

import pytest

from vb_node.web import passwords


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def test_a_password_is_known_again_and_another_is_not() -> None:
    kept = passwords.hashed("correct horse battery")

    assert kept.startswith("$argon2id$")
    assert passwords.is_password("correct horse battery", kept)
    assert not passwords.is_password("correct horse batterz", kept)


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 1001])
def test_a_password_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="12 to 1000 characters expected"):
        passwords.hashed(password)


@pytest.mark.parametrize("kept", [None, "no hash at all"])
def test_without_a_hash_no_password_is_right(kept: str | None) -> None:
    assert not passwords.is_password("correct horse battery", kept)


def test_w_16_a_name_without_a_password_takes_as_long_as_one_with() -> None:
    kept = passwords.hashed("correct horse battery")

    with_one = min(_seconds(lambda: passwords.is_password("wrong password", kept)) for _ in range(3))
    without = min(_seconds(lambda: passwords.is_password("wrong password", None)) for _ in range(3))

    assert without > with_one / 3
