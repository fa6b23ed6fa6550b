"""``vb-node users``: who may use pages and API, and how secrets come in and out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from storage import audit, users
from storage.database import Database
from vb_node.cli import app
from vb_node.web.passwords import is_password
from vb_node.web.users import digest_of

PASSWORD = "correct horse battery"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "node.toml").write_text("")
    return tmp_path


def _run(home: Path, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vb_node", "users", *words]
    return subprocess.run(command, input=said, capture_output=True, text=True, cwd=home, check=False, timeout=120)


def test_a_person_and_a_program_are_added_listed_and_removed(home: Path) -> None:
    person = _run(home, "add", "anna", "--role", "operator", said=f"{PASSWORD}\n")
    program = _run(home, "add", "grafana", "--role", "viewer", "--token")
    listed = json.loads(_run(home, "list", "--json").stdout)
    removed = _run(home, "remove", "anna")

    token = program.stdout.strip()
    assert [ended.returncode for ended in (person, program, removed)] == [0, 0, 0]
    assert [(one["name"], one["role"], one["by"]) for one in listed] == [
        ("anna", "operator", "password"),
        ("grafana", "viewer", "token"),
    ]
    assert PASSWORD not in person.stdout + person.stderr
    database = Database(f"sqlite:///{home / 'data' / 'ledger.db'}")
    with database.read() as session:
        assert [one.name for one in users.listing(session)] == ["grafana"]
        assert users.of_token(session, digest_of(token)) is not None
        trail = audit.search(session, since=None, until=None, limit=10)
    assert [line.event for line in trail] == ["user added", "user added", "user removed"]
    assert token.encode() not in (home / "data" / "ledger.db").read_bytes()


def test_the_ledger_keeps_no_password(home: Path) -> None:
    _run(home, "add", "anna", "--role", "admin", said=f"{PASSWORD}\n")

    with Database(f"sqlite:///{home / 'data' / 'ledger.db'}").read() as session:
        anna = users.get(session, "anna")

    assert anna is not None
    assert PASSWORD not in str(anna.password)
    assert is_password(PASSWORD, anna.password)


def test_role_password_and_token_are_changed_and_a_user_is_disabled_and_enabled(home: Path) -> None:
    _said(home, "add", "anna", "--role", "operator", said=f"{PASSWORD}\n")
    former = _said(home, "add", "grafana", "--role", "viewer", "--token").strip()

    _said(home, "role", "anna", "auditor")
    _said(home, "password", "anna", said=f"another {PASSWORD}\n")
    token = _said(home, "token", "grafana").strip()
    for word, name in (("disable", "anna"), ("disable", "grafana"), ("enable", "anna")):
        _said(home, word, name)
    listed = {one["name"]: one for one in json.loads(_said(home, "list", "--json"))}

    assert listed["anna"]["role"] == "auditor"
    assert [bool(listed[name]["disabled"]) for name in ("anna", "grafana")] == [False, True]
    with Database(f"sqlite:///{home / 'data' / 'ledger.db'}").read() as session:
        anna, grafana = users.get(session, "anna"), users.get(session, "grafana")
    assert anna is not None
    assert grafana is not None
    assert is_password(f"another {PASSWORD}", anna.password)
    assert grafana.token == digest_of(token) != digest_of(former)


def _said(home: Path, *words: str, said: str = "") -> str:
    """Run a command in this process; give what it prints."""
    ended = CliRunner().invoke(app, ["users", *words, "--config", str(home / "node.toml")], input=said)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_what_cannot_be_changed_is_told(home: Path) -> None:
    ended = _run(home, "role", "nobody", "viewer")

    assert ended.returncode == 1
    assert "there is no user nobody" in ended.stderr


@pytest.mark.parametrize(
    ("words", "said", "told"),
    [
        (["anna", "--role", "admin"], "short\n", "a password of 12 to 1000 characters expected, 5 came"),
        (["anna", "--role", "admin"], "", "a password of 12 to 1000 characters expected, 0 came"),
        (["an na", "--role", "admin"], f"{PASSWORD}\n", "a name of 1 to 64 letters"),
        (["anna", "--role", "god"], f"{PASSWORD}\n", "god"),
    ],
    ids=["short", "no password", "name", "role"],
)
def test_what_is_wrong_is_told_and_nobody_is_added(home: Path, words: list[str], said: str, told: str) -> None:
    ended = _run(home, "add", *words, said=said)

    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_name_that_is_taken_or_unknown_is_told(home: Path) -> None:
    _run(home, "add", "grafana", "--role", "viewer", "--token")

    again = _run(home, "add", "grafana", "--role", "admin", "--token")
    unknown = _run(home, "remove", "nobody")

    assert (again.returncode, unknown.returncode) == (1, 1)
    assert "there is a user grafana" in again.stderr
    assert "there is no user nobody" in unknown.stderr
