"""The configuration file: read, its paths made absolute, each wrong key refused by name."""

import tomllib
from inspect import isclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from vb_node.config.settings import SQLITE, Settings
from vb_node.errors import ConfigError

EXAMPLE = Path(__file__).with_name("example.toml").read_text("utf-8")


def load(file: Path, home: Path | None = None) -> Settings:
    """Read a configuration file; paths in it are relative to its folder, or to ``home``.

    Raises
    ------
    ConfigError
        The file is missing, is no TOML, or a key is unknown or of the wrong kind: each is named.
    """
    return build(read(file, home), str(file))


def read(file: Path, home: Path | None = None) -> dict[str, Any]:
    """Read the values of a configuration file, with absolute paths."""
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"configuration file {file} cannot be read ({error.strerror}): write one with `vb-node init {file}`"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    _place_at((home or file.parent).resolve(), values)
    return values


def _place_at(home: Path, values: dict[str, Any]) -> None:
    """Make every path absolute, from the folder of the file."""
    node = values.setdefault("node", {})
    if isinstance(node, dict):
        node.setdefault("data", "data")
        if str(node.get("database", "")).startswith(SQLITE):
            node["database"] = SQLITE + str(home / node["database"].removeprefix(SQLITE))
    _place_table(home, Settings, values)


def _place_table(home: Path, table: type[BaseModel], values: dict[str, Any]) -> None:
    for name, field in table.model_fields.items():
        if name in values:
            values[name] = _placed(home, (field.annotation, *get_args(field.annotation)), values[name])


def _placed(home: Path, kinds: tuple[Any, ...], value: Any) -> Any:
    if Path in kinds and isinstance(value, str):
        return str(home / value)
    for kind in kinds:
        if isclass(kind) and issubclass(kind, BaseModel):
            for values in value if isinstance(value, list) else [value]:
                if isinstance(values, dict):
                    _place_table(home, kind, values)
    return value


def build(values: dict[str, Any], source: str = "settings") -> Settings:
    """Make settings of plain values; raise ``ConfigError`` naming each wrong key."""
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [f"  {_place(problem['loc'])}: {problem['msg']}{_came(problem)}" for problem in error.errors()]
        raise ConfigError(f"{source}:\n" + "\n".join(lines) + "\nsee `vb-node init` for every key") from error


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "file"


def _came(problem: Any) -> str:
    value = problem.get("input")
    return f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
