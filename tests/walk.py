"""People at the pages of a node: a real Chromium, a user of each role, pictures of what they see."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chromium import walk_through
from places import ROOT
from processes import HOST, Node

PASSWORD = "correct horse battery staple"
ROLES = ("viewer", "operator", "auditor", "admin")


@dataclass
class Walk:
    """A node that has done a job, and a browser for one of its users."""

    node: Node
    url: str
    folder: Path
    seen: dict[str, Any] = field(default_factory=dict)

    def visit(self, name: str, visits: list[dict[str, Any]], clicks: list[dict[str, str]] | None = None) -> Any:
        return walk_through(self.url, self.folder, visits, clicks or [], name=name, password=PASSWORD)


def prepare(node: Node, web_port: int, name: str) -> Walk:
    """Give each role a user, and a browser for them; the pictures go to the artefacts, into the folder ``name``."""
    for role in ROLES:
        command = [sys.executable, "-m", "vb_node", "users", "add", f"a-{role}", "--role", role]
        environment = os.environ | {"VBNODE_CONFIG": str(node.config)}
        subprocess.run(command, input=f"{PASSWORD}\n{PASSWORD}\n", text=True, env=environment, check=True)
    artefacts = Path(os.environ.get("VB_NODE_ARTEFACTS", ROOT / "artefacts")) / name
    artefacts.mkdir(parents=True, exist_ok=True)
    return Walk(node, f"http://{HOST}:{web_port}", artefacts)


def send(folder: Path, port: int) -> None:
    """Send a folder to the node as SENDER."""
    command = [sys.executable, "-m", "vb_node", "send", str(folder), "--to", f"VBNODE@{HOST}:{port}"]
    subprocess.run([*command, "--calling", "SENDER"], check=True, capture_output=True)
