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


@pytest.mark.parametrize(("key", "value"), [("role", "viewer"), ("token", "c" * 64), ("disabled_at", 12.0)])
def test_a_user_who_is_changed_loses_the_sessions_but_the_one_that_is_kept(
    database: Database, anna: str, key: users.Key, value: object
) -> None:
    kept = "d" * 64
    with database.write() as session:
        for digest in (DIGEST, kept):
            users.begin(session, anna, digest, host="127.0.0.1", now=10.0, expires_at=20.0)

    with database.write() as session:
        users.change(session, anna, key, value, now=12.0, by="root", kept=kept)

    with database.read() as session:
        assert users.of_login(session, DIGEST, now=13.0) is None
        assert (users.of_login(session, kept, now=13.0) is None) is (key == "disabled_at")


def test_who_is_disabled_is_let_in_by_nothing_until_enabled(database: Database, anna: str) -> None:
    seen = []
    for value in (12.0, None):
        with database.write() as session:
            users.change(session, anna, "disabled_at", value, now=12.0, by="root")
            users.begin(session, anna, DIGEST, host="127.0.0.1", now=12.0, expires_at=20.0)
            seen.append((users.of_token(session, OTHER), users.of_login(session, DIGEST, now=13.0)))

    assert [[one and one.name for one in pair] for pair in seen] == [[None, None], ["anna", "anna"]]


def test_what_changes_is_told_but_no_secret(database: Database, anna: str) -> None:
    with database.write() as session:
        users.change(session, anna, "role", "viewer", now=12.0, by="root")
        users.change(session, anna, "token", "c" * 64, now=12.0, by="root")

    with database.read() as session:
        told = [line.details for line in audit.search(session, since=None, until=None, limit=10, event="user changed")]
    assert told == [
        {"name": "anna", "key": "role", "former": "operator", "new": "viewer"},
        {"name": "anna", "key": "token"},
    ]


@pytest.mark.parametrize(("name", "key"), [("nobody", "role"), ("anna", "password"), ("oidc:eva", "role")])
def test_what_cannot_be_said_of_a_user_is_refused(database: Database, anna: str, name: str, key: users.Key) -> None:
    eva = User(name="oidc:eva", role="viewer", issuer="https://login.example", subject="s1", created_at=1.0)

    with database.write() as session:
        assert users.meet(session, eva) is eva
        with pytest.raises(users.NotSo, match=f"{name}"):
            users.change(session, name, key, "admin", now=12.0, by="root")


def test_a_person_of_a_provider_is_met_by_subject_and_disabled_by_name(database: Database) -> None:
    with database.write() as session:
        users.meet(session, _person("s1", "oidc:eva"))
        again = users.meet(session, _person("s1", "oidc:married"))
        with pytest.raises(users.NotSo, match="there is a user oidc:eva"):
            users.meet(session, _person("s2", "oidc:eva"))
        users.change(session, "oidc:eva", "disabled_at", 3.0, now=3.0, by="root")
        with pytest.raises(users.NotSo, match="disabled"):
            users.meet(session, _person("s1", "oidc:eva"))

    assert again.name == "oidc:eva"


def _person(subject: str, name: str) -> User:
    return User(name=name, role="viewer", issuer="https://login.example", subject=subject, created_at=1.0)


def test_whatever_happens_to_users_is_an_event(database: Database, anna: str) -> None:
    with database.write() as session:
        users.begin(session, anna, DIGEST, host="127.0.0.1", now=10.0, expires_at=20.0)
        users.end(session, DIGEST, now=15.0)
        users.remove(session, anna, now=16.0, by="root")

    with database.read() as session:
        told = [(line.event, line.user) for line in audit.search(session, since=None, until=None, limit=10)]
    assert told == [("user added", "root"), ("login", "anna"), ("logout", "anna"), ("user removed", "root")]
