"""What the statement says of the configuration: every key with its default, and what one configuration sets."""

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vb_node.config import EXAMPLE, Settings
from vb_node.conformance.markdown import code, table

SECTION = re.compile(r"(?:# )?\[+([a-z_.]+)\]+")
KEY = re.compile(r"(?:# )?(\w+) = .*?\s#\s(.+)")


def every_key() -> str:
    """List every key of the configuration file with its default, and with what the example file says of it."""
    said = _said()
    # what a route sets of its own is said where the node's own is
    rows = [
        (code(name), _default(field), said.get(name, said.get(name.removeprefix("routes."), "")))
        for name, field in _fields(Settings, "")
    ]
    return table(["Key", "Default", "Meaning"], rows)


def local(settings: Settings) -> str:
    """List the node's own AE and where it listens."""
    receive = settings.receive
    rows = [(settings.node.ae_title, receive.host, receive.port, receive.max_associations, receive.max_pdu)]
    return table(["AE title", "Address", "Port", "Associations at most", "Maximum PDU received"], rows)


def remote(settings: Settings) -> str:
    """List the AEs that may send and those that results go to."""
    rows = [
        (peer.ae_title, "sends to the node", ", ".join(peer.hosts) or "any address") for peer in settings.receive.peers
    ]
    rows += [
        (one.ae_title or f"({one.kind})", f"destination {one.name}, {code(one.viewer_profile)}", _place(one))
        for one in settings.destinations
    ]
    return table(["AE title", "Role", "Address"], rows) if rows else "None: nobody may send, and results go nowhere."


def _place(destination: Any) -> str:
    if destination.kind == "dimse":
        return f"{destination.host}:{destination.port}"
    return str(destination.url or destination.folder)


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Walk the models down to the keys; a table that may come several times is walked once."""
    for name, field in model.model_fields.items():
        below = next(_models(field.annotation), None)
        if below is None:
            yield f"{prefix}{name}", field
        else:
            yield from _fields(below, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    return "none" if field.default in (None, "", ()) else code(field.default)


def _said() -> dict[str, str]:
    """Read the comments of the example file, by key."""
    said, section = {}, ""
    for line in EXAMPLE.splitlines():
        if (begun := SECTION.match(line)) is not None:
            section = begun[1]
        elif (found := KEY.match(line)) is not None:
            said[f"{section}.{found[1]}"] = found[2]
    return said
