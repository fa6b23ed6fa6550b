"""Users and their sessions on both databases."""

import pytest

from storage import audit, users
from storage.database import Database
from storage.schema import User

DIGEST, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def anna(database: Database) -> str:
    with database.write() as session:
        users.add(session, User(name="anna", role="operator", token=OTHER, created_at=1.0), by="root")
    return "anna"


def test_a_name_is_given_once(database: Database, anna: str) -> None:
    with pytest.raises(users.NotSo, match="there is a user anna"), database.write() as session:
        users.add(session, User(name=anna, role="admin", created_at=2.0), by="root")

    with database.read() as session:
        assert [(one.name, one.role) for one in users.listing(session)] == [("anna", "operator")]


def test_a_session_is_a_users_until_it_expires_or_ends(database: Database, anna: str) -> None:
    with database.write() as session:
        users.begin(session, anna, DIGEST, host="127.0.0.1", now=10.0, expires_at=20.0)

    with database.read() as session:
        found = [
            users.of_login(session, digest, now=now) for digest, now in ((DIGEST, 19.0), (DIGEST, 20.0), (OTHER, 19.0))
        ]
        assert [one and one.name for one in found] == ["anna", None, None]
    with database.write() as session:
        users.end(session, DIGEST, now=15.0)
        assert users.of_login(session, DIGEST, now=16.0) is None


def test_a_token_is_a_users_until_it_is_removed_and_its_sessions_go_with_it(database: Database, anna: str) -> None:
    with database.write() as session:
        users.begin(session, anna, DIGEST, host="127.0.0.1", now=10.0, expires_at=20.0)
        found = users.of_token(session, OTHER)

    with database.write() as session:
        users.remove(session, anna, now=12.0, by="root")

    assert found is not None
    with database.read() as session:
        assert not users.is_any(session)
        assert users.of_token(session, OTHER) is None
        assert users.of_login(session, DIGEST, now=13.0) is None


def test_whatever_happens_to_users_is_an_event(database: Database, anna: str) -> None:
    with database.write() as session:
        users.begin(session, anna, DIGEST, host="127.0.0.1", now=10.0, expires_at=20.0)
        users.end(session, DIGEST, now=15.0)
        users.remove(session, anna, now=16.0, by="root")

    with database.read() as session:
        told = [(line.event, line.user) for line in audit.search(session, since=None, until=None, limit=10)]
    assert told == [("user added", "root"), ("login", "anna"), ("logout", "anna"), ("user removed", "root")]
