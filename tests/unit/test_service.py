"""The unit for systemd starts what is there, and starts it again."""

import configparser
import shlex
from pathlib import Path

import pytest
import typer

from vb_node.cli import app

UNIT = Path(__file__).parents[2] / "deploy" / "vb-node.service"


@pytest.fixture
def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text("utf-8"))
    return parser


def test_the_unit_starts_a_command_that_there_is_with_options_that_it_has(unit: configparser.RawConfigParser) -> None:
    program, command, *options = shlex.split(unit["Service"]["ExecStart"])
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]

    assert Path(program).name == "vb-node"
    assert {word for word in options if word.startswith("--")} <= {name for one in known.params for name in one.opts}


def test_a_node_that_ended_is_started_again_without_end(unit: configparser.RawConfigParser) -> None:
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert "RestartPreventExitStatus" not in unit["Service"]
