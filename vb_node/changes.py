"""What differs between two configurations, for people and for the audit trail; secrets are not told."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import make_url

from vb_node.config import Settings
from vb_node.errors import ConfigError

ABSENT, HIDDEN = None, "***"
FIXED = ("node.data", "node.database", "node.database_file")


@dataclass(frozen=True)
class Change:
    """One key that differs; None where a configuration has none."""

    key: str
    former: Any
    new: Any


def between(former: Settings, new: Settings) -> list[Change]:
    """List what differs, by key; an entry of a list is known by its name or AE title: ``destinations[pacs].port``."""
    before, after = flat(former), flat(new)
    keys = sorted(before.keys() | after.keys())
    pairs = [Change(key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys]
    seen = [one for one in pairs if one.former != one.new]
    return seen if seen or former == new else [Change("a secret", HIDDEN, HIDDEN)]


def check(changes: Sequence[Change]) -> None:
    """Refuse what a node that runs cannot change; raise ``ConfigError``."""
    if fixed := [one.key for one in changes if one.key in FIXED]:
        raise ConfigError(
            f"{', '.join(fixed)} cannot change while the node runs: stop it, move its data, start it again"
        )


def digest(settings: Settings) -> str:
    """Give the SHA-256 of a configuration with all its defaults, without secrets."""
    return hashlib.sha256(json.dumps(flat(settings), sort_keys=True).encode()).hexdigest()


def flat(settings: Settings) -> dict[str, Any]:
    """Give every value by its key."""
    dumped = settings.model_dump(mode="json")
    if dumped["node"]["database"] is not None:
        dumped["node"]["database"] = make_url(dumped["node"]["database"]).render_as_string(hide_password=True)
    return dict(_flat("", dumped))


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
        so_far: Counter[str] = Counter()
        for place, entry in enumerate(value):
            name = str(entry.get("name", entry.get("ae_title", place)))
            so_far[name] += 1
            number = f"#{so_far[name]}" if so_far[name] > 1 else ""  # peers may share an AE title
            yield from _flat(f"{key}[{name}{number}]", entry)
    else:
        yield key, value
