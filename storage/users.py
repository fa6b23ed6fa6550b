"""Who may use pages and API, and who is logged in: only hashes are kept, and each change is an event."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage import audit
from storage.schema import Login, User


class NotSo(Exception):
    """There is such a user already, or none."""


def add(session: Session, user: User, *, by: str) -> None:
    """Add a user; raise ``NotSo`` where the name is taken."""
    if session.get(User, user.name) is not None:
        raise NotSo(f"there is a user {user.name}: remove it first")
    session.add(user)
    _tell(session, "user added", user.created_at, by, {"name": user.name, "role": user.role})


def remove(session: Session, name: str, *, now: float, by: str) -> None:
    """Remove a user and end its sessions; raise ``NotSo`` where there is none."""
    user = session.get(User, name)
    if user is None:
        raise NotSo(f"there is no user {name}")
    session.execute(delete(Login).where(Login.user == name))
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


def of_token(session: Session, digest: str) -> User | None:
    """Give the user of an API token, by the token's SHA-256."""
    return session.scalar(select(User).filter_by(token=digest))


def of_login(session: Session, digest: str, *, now: float) -> User | None:
    """Give the user of a session that has not expired, by the SHA-256 of its secret."""
    query = select(User).join(Login, Login.user == User.name)
    return session.scalar(query.where(Login.digest == digest, Login.expires_at > now))


def begin(session: Session, name: str, digest: str, *, host: str, now: float, expires_at: float) -> None:
    """Begin a session; what has expired goes."""
    session.execute(delete(Login).where(Login.expires_at <= now))
    session.add(Login(digest=digest, user=name, began_at=now, expires_at=expires_at))
    _tell(session, "login", now, name, {"host": host})


def end(session: Session, digest: str, *, now: float) -> None:
    """End a session, if it is one."""
    login = session.get(Login, digest)
    if login is not None:
        session.delete(login)
        _tell(session, "logout", now, login.user, {})


def _tell(session: Session, event: str, now: float, user: str, details: dict[str, object]) -> None:
    audit.record(session, event, now=now, actor="users", user=user[:64], details=details)
