"""One login that a browser has begun, known by a secret that nobody but this browser holds."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """What goes to the provider is digested from the secret, which stays: nothing is kept on this side meanwhile.

    Source: OpenID Connect Core 15.5.2, which proposes this for the nonce.
    """

    secret: str

    @property
    def state(self) -> str:
        """Give what the provider sends back with its answer: the answer to this login and to no other."""
        return self._digest("state")

    @property
    def nonce(self) -> str:
        """Give what the ID token must carry: it was made for this login."""
        return self._digest("nonce")

    @property
    def code_verifier(self) -> str:
        """Give what shows that who redeems the code is who began (RFC 7636 4.1)."""
        return self._digest("code verifier")

    def _digest(self, word: str) -> str:
        return hashlib.sha256(f"{word} {self.secret}".encode()).hexdigest()
