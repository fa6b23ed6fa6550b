"""Passwords of people as argon2id hashes, and tokens of programs."""

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 12, 1000
_HASHER = PasswordHasher()  # argon2id, 64 MiB, three passes (RFC 9106 4)
_NOBODY = _HASHER.hash(secrets.token_hex())


def hashed(password: str) -> str:
    """Hash a new password; raise ``ValueError`` for one that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password of {SHORTEST} to {LONGEST} characters expected, {len(password)} came")
    return _HASHER.hash(password)


def is_password(password: str, kept: str | None) -> bool:
    """Say whether this is the password that was hashed; where there is none, after the same time, no."""
    try:
        return _HASHER.verify(kept or _NOBODY, password[:LONGEST]) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def new_secret() -> str:
    """Make a token or the secret of a session: 256 random bits."""
    return secrets.token_urlsafe(32)
