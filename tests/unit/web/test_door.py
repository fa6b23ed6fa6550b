"""Who may send by HTTP."""

from pathlib import Path

import pytest

from vb_node.config import WebPeerSettings
from vb_node.errors import ConfigError
from vb_node.web.door import Caller, Door

TOKEN, PRINT = "0123456789abcdef", "ab" * 32
HERE = "127.0.0.1"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def test_a_peer_with_token_and_certificate_needs_both(token_file: Path) -> None:
    door = Door([WebPeerSettings(ae_title="BOTH", token_file=token_file, certificate=PRINT)])

    assert door.who(Caller(HERE, f"Bearer {TOKEN}", PRINT)) == "BOTH"
    assert door.who(Caller(HERE, f"Bearer {TOKEN}")) is None
    assert door.who(Caller(HERE, "", PRINT)) is None


def test_each_peer_has_its_own_token(token_file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("fedcba9876543210")
    peers = [("ONE", token_file), ("TWO", tmp_path / "other")]
    door = Door([WebPeerSettings(ae_title=name, token_file=file) for name, file in peers])

    assert door.who(Caller(HERE, "bearer fedcba9876543210")) == "TWO"


def test_a_token_that_is_gone_lets_nobody_in(token_file: Path) -> None:
    door = Door([WebPeerSettings(ae_title="ONE", token_file=token_file)])
    token_file.write_text("")

    assert door.who(Caller(HERE, "Bearer ")) is None
    token_file.unlink()
    assert door.who(Caller(HERE, "Bearer ")) is None


@pytest.mark.parametrize("token", ["", "short", "\n" * 20])
def test_a_token_that_can_be_guessed_is_refused_at_the_start(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)

    with pytest.raises(ConfigError, match="16 characters"):
        Door([WebPeerSettings(ae_title="ONE", token_file=tmp_path / "token")])


def test_without_peers_nobody_is_let_in() -> None:
    assert Door([]).who(Caller(HERE, f"Bearer {TOKEN}", PRINT)) is None
