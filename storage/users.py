"""Who may use pages and API, and who is logged in: only hashes are kept, and each change is an event."""

from collections.abc import Mapping, Sequence
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage import audit
from storage.schema import Login, User

Key = Literal["role", "password", "token", "disabled_at"]
SECRET = ("password", "token")


class NotSo(Exception):
    """There is such a user already, or none, or it is none of whom this can be said."""


def add(session: Session, user: User, *, by: str) -> None:
    """Add a user; raise ``NotSo`` where the name is taken."""
    if session.get(User, user.name) is not None:
        raise NotSo(f"there is a user {user.name}: remove it first")
    session.add(user)
    _tell(session, "user added", user.created_at, by, {"name": user.name, "role": user.role} | _origin(user))


def meet(session: Session, person: User) -> User:
    """Give the user of a provider's person as it was met before, with the role of now; a new one is added.

    Who is met again keeps the name of the first time. Raises ``NotSo`` for one who is disabled, and where the name is
    another user's.
    """
    known = of_subject(session, person.issuer, person.subject)
    if known is None:
        add(session, person, by=person.name)
        return person
    if known.disabled_at is not None:
        raise NotSo(f"{known.name} is disabled")
    if known.role != person.role:
        _change(session, known, "role", person.role, now=person.created_at, by=known.name)
    return known


def change(session: Session, name: str, key: Key, value: object, *, now: float, by: str, kept: str = "") -> None:
    """Change one column of a user; its sessions end, but the one with the digest ``kept``.

    Raises
    ------
    NotSo
        There is no such user, or it is not known by a password, or a token; or its provider gives the role.
    """
    user = _found(session, name)
    if key in SECRET and getattr(user, key) is None:
        raise NotSo(f"{name} is not known by a {key}: `vb-node users list` says by what")
    if key == "role" and user.issuer is not None:
        raise NotSo(f"{name} has the role that the OpenID provider gives: change it there")
    _change(session, user, key, value, now=now, by=by, kept=kept)


def _change(session: Session, user: User, key: Key, value: object, *, now: float, by: str, kept: str = "") -> None:
    words = {"key": key} | ({} if key in SECRET else {"former": getattr(user, key), "new": value})
    setattr(user, key, value)
    end_all(session, user.name, kept)
    _tell(session, "user changed", now, by, {"name": user.name} | words)


def end_all(session: Session, name: str, kept: str = "") -> None:
    """End every session of a user, but the one with the digest ``kept``."""
    session.execute(delete(Login).where(Login.user == name, Login.digest != kept))


def remove(session: Session, name: str, *, now: float, by: str) -> None:
    """Remove a user and end its sessions; raise ``NotSo`` where there is none."""
    user = _found(session, name)
    end_all(session, name)
    session.delete(user)
    _tell(session, "user removed", now, by, {"name": name, "role": user.role})


def listing(session: Session) -> Sequence[User]:
    """List all users by name."""
    return session.scalars(select(User).order_by(User.name)).all()


def is_any(session: Session) -> bool:
    """Say whether there is a user at all."""
    return session.scalar(select(User.name).limit(1)) is not None


def get(session: Session, name: str) -> User | None:
    return session.get(User, name)


def of_subject(session: Session, issuer: str | None, subject: str | None) -> User | None:
    """Give the user who is this person of this provider."""
    return session.scalar(select(User).where(User.issuer == issuer, User.subject == subject))


def of_token(session: Session, digest: str) -> User | None:
    """Give the user of an API token, by the token's SHA-256."""
    return session.scalar(select(User).filter_by(token=digest, disabled_at=None))


def of_login(session: Session, digest: str, *, now: float) -> User | None:
    """Give the user of a session that has not expired, by the SHA-256 of its secret."""
    query = select(User).join(Login, Login.user == User.name)
    is_on = Login.digest == digest, Login.expires_at > now, User.disabled_at.is_(None)
    return session.scalar(query.where(*is_on))


def begin(session: Session, name: str, digest: str, *, host: str, now: float, expires_at: float) -> None:
    """Begin a session; what has expired goes."""
    user = session.get_one(User, name)
    session.execute(delete(Login).where(Login.expires_at <= now))
    session.add(Login(digest=digest, user=name, began_at=now, expires_at=expires_at))
    _tell(session, "login", now, name, {"host": host} | _origin(user))


def end(session: Session, digest: str, *, now: float) -> None:
    """End a session, if it is one."""
    login = session.get(Login, digest)
    if login is not None:
        session.delete(login)
        _tell(session, "logout", now, login.user, {})


def _found(session: Session, name: str) -> User:
    user = session.get(User, name)
    if user is None:
        raise NotSo(f"there is no user {name}")
    return user


def _origin(user: User) -> dict[str, object]:
    """Say who knows a person whom the ledger itself does not."""
    return {} if user.issuer is None else {"issuer": user.issuer, "subject": user.subject}


def _tell(session: Session, event: str, now: float, user: str, details: Mapping[str, object]) -> None:
    audit.record(session, event, now=now, actor="users", user=user[:64], details=dict(details))
