"""Another configuration for a node that runs: compared, checked, put in place, and taken back where it does not work.

The supervisor does the change itself when it gets SIGHUP (runtime/supervisor.py); here is what a person does before,
and who it was.
"""

import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage import audit
from storage.account import account
from storage.database import Database
from vb_node import changes, config, doctor
from vb_node.changes import Change
from vb_node.config import Settings
from vb_node.errors import ConfigError, NodeError
from vb_node.runtime.node import open_ledger
from vb_node.runtime.supervisor import START_S, pid_of

APPLIED, REFUSED, TAKEN_BACK = "configuration applied", "configuration refused", "configuration taken back"
LOOK_S, LONGEST_S = 0.3, 5 * START_S

Present = Callable[[str, list[dict[str, Any]]], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a configuration."""

    is_applied: bool
    words: str
    is_known: bool = True


def compare(file: Path, new: Path) -> list[Change]:
    """List what ``new`` would change in the place of ``file``; raise ``ConfigError``."""
    return changes.between(config.load(file), config.load(new, file.parent))


def apply(file: Path, new: Path, *, is_forced: bool, present: Present) -> Outcome:
    """Put ``new`` in the place of ``file`` and bring the node to it, if one runs; ``present`` shows rows under a title.

    Raises
    ------
    ConfigError
        It is no configuration, or changes what a running node cannot; nothing was changed.
    NodeError
        The doctor finds something wrong with it that was right before; nothing was changed.
    """
    former, wanted = config.load(file), config.load(new, file.parent)
    differing = changes.between(former, wanted)
    if not differing:
        return Outcome(True, f"{new} says what {file} says: nothing to change")
    present("Changes", [vars(one) for one in differing])
    running = pid_of(former)
    if running is not None:
        changes.check(differing)
    if not is_forced:
        _examine(former, wanted, present)
    before, content = file.read_bytes(), new.read_bytes()
    with closing(open_ledger(former)) as database:
        asked = _write_down(database, content, differing)
        _put(file, content)
        if running is None:
            return Outcome(True, f"{file} is replaced; no node runs, so it takes effect at the next start")
        os.kill(running, signal.SIGHUP)
        outcome = _await(database, asked)
    if outcome.is_known and not outcome.is_applied:
        _put(file, before)
    return outcome


def _examine(former: Settings, wanted: Settings, present: Present) -> None:
    """Refuse what the doctor finds wrong and did not find wrong before."""
    known = {one.about for one in doctor.examine_configuration(former) if one.state == doctor.WRONG}
    found = [one for one in doctor.examine_configuration(wanted) if one.state == doctor.WRONG]
    wrong = [one for one in found if one.about not in known]
    if wrong:
        present("Found wrong", [vars(one) for one in wrong])
        raise NodeError("not applied: mend what was found wrong, or apply it with --anyway")


def _write_down(database: Database, content: bytes, differing: Sequence[Change]) -> str:
    """Record who asks for what; give the digest of the file, by which its outcome is known."""
    digest = hashlib.sha256(content).hexdigest()
    details = {"file_sha256": digest, "changes": [vars(one) for one in differing]}
    with database.write() as session:
        audit.record(
            session,
            "configuration change asked",
            now=time.time(),
            actor="config",
            user=account(),
            details=details,
        )
    return digest


def _await(database: Database, digest: str) -> Outcome:
    """Wait until the node says what became of it."""
    begun, since = time.monotonic(), time.time() - 1
    while time.monotonic() - begun < LONGEST_S:
        with database.read() as session:
            for event in (APPLIED, REFUSED, TAKEN_BACK):
                for line in audit.search(session, since=since, until=None, limit=10, event=event):
                    if line.details["file_sha256"] == digest:
                        return Outcome(event == APPLIED, f"{event}{_why(line.details)}")
        time.sleep(LOOK_S)
    why = f"the node did not say within {LONGEST_S:g} s what became of it: look into its log; the file is the new one"
    return Outcome(False, why, is_known=False)


def _why(details: dict[str, Any]) -> str:
    return f": {details['why']}; the former goes on" if "why" in details else ""


def _put(file: Path, content: bytes) -> None:
    """Write a file anew, as a whole or not at all."""
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_bytes(content)
        new.chmod(file.stat().st_mode)
        new.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
