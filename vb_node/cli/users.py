"""``vb-node users``: who may use pages and API."""

import sys
from typing import Annotated, Any, Literal

import typer

from storage.account import account
from vb_node.cli.options import DEFAULT_CONFIG, AsJson, Config, ledger

app = typer.Typer(help="Users of pages and API. Example: vb-node users add anna --role operator", no_args_is_help=True)

Role = Literal["viewer", "operator", "admin", "auditor"]
Name = Annotated[str, typer.Argument(metavar="NAME", help="1 to 64 letters, digits or . _ @ -")]


@app.command("add")
def users_add(
    name: Name,
    role: Annotated[
        Role,
        typer.Option(help="viewer sees; operator retries and cancels too; auditor reads the audit trail; admin all."),
    ],
    config: Config = DEFAULT_CONFIG,
    token: Annotated[bool, typer.Option("--token", help="A program: print an API token, once, no password.")] = False,
) -> None:
    """Add a user. The password is asked for, or read from standard input; a token is printed and kept nowhere.

    Example: vb-node users add grafana --role viewer --token
    """
    import re
    import time

    from storage import users
    from storage.schema import User
    from vb_node.errors import ConfigError
    from vb_node.web import passwords
    from vb_node.web.users import digest_of

    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", name):
        raise ConfigError(f"a name of 1 to 64 letters, digits or . _ @ - expected; {name[:64]!r} came")
    user = User(name=name, role=role, created_at=time.time())
    secret = passwords.new_secret()
    if token:
        user.token = digest_of(secret)
    else:
        user.password = _new_password()
    _change(config, users.add, user)
    typer.echo(secret if token else f"user {name} is {role}")


@app.command("list")
def users_list(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List users and what they may.

    Example: vb-node users list
    """
    from storage import users
    from vb_node import show

    _, database = ledger(config)
    with database.read() as session:
        rows = [
            {"name": one.name, "role": one.role, "by": _by(one), "added": show.moment(one.created_at)}
            | {"disabled": show.moment(one.disabled_at)}
            for one in users.listing(session)
        ]
    show.rows("Users", rows, as_json=as_json)


@app.command("role")
def users_role(
    name: Name,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="viewer, operator, auditor or admin")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Give a user another role; its sessions end.

    Example: vb-node users role anna operator
    """
    _set(config, name, "role", role)
    typer.echo(f"user {name} is {role}")


@app.command("password")
def users_password(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Give a person another password, asked for or read from standard input; its sessions end.

    Example: vb-node users password anna
    """
    _set(config, name, "password", _new_password())
    typer.echo(f"user {name} has another password")


@app.command("token")
def users_token(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Give a program another API token, printed once; the former opens nothing any more.

    Example: vb-node users token grafana
    """
    from vb_node.web import passwords
    from vb_node.web.users import digest_of

    secret = passwords.new_secret()
    _set(config, name, "token", digest_of(secret))
    typer.echo(secret)


@app.command("disable")
def users_disable(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Let a user in no more, by password, token or provider; its sessions end, its name stays.

    Example: vb-node users disable oidc:anna
    """
    import time

    _set(config, name, "disabled_at", time.time())
    typer.echo(f"user {name} is disabled")


@app.command("enable")
def users_enable(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Let a user in again who was disabled.

    Example: vb-node users enable oidc:anna
    """
    _set(config, name, "disabled_at", None)
    typer.echo(f"user {name} is enabled")


@app.command("remove")
def users_remove(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Remove a user; its sessions and its token end at once.

    Example: vb-node users remove anna
    """
    import time

    from storage import users

    _change(config, users.remove, name, now=time.time())
    typer.echo(f"user {name} is removed")


def _by(user: Any) -> str:
    return "provider" if user.issuer else "password" if user.password else "token"


def _set(config: Any, name: str, key: str, value: object) -> None:
    import time

    from storage import users

    _change(config, users.change, name, key, value, now=time.time())


def _change(config: Any, change: Any, *words: Any, **named: Any) -> None:

    from storage.users import NotSo
    from vb_node.errors import NodeError

    _, database = ledger(config)
    try:
        with database.write() as session:
            change(session, *words, by=account(), **named)
    except NotSo as error:
        raise NodeError(str(error)) from error


def _new_password() -> str:
    from vb_node.errors import ConfigError
    from vb_node.web import passwords

    try:
        return passwords.hashed(_ask_password())
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _ask_password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
