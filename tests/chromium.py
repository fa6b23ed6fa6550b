"""A real Chromium that walks through pages (tests/viewer/pages.mjs), after npm's packages for it are there."""

import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from processes import tool

VIEWER = Path(__file__).parent / "viewer"


def walk_through(
    url: str, folder: Path, visits: Sequence[dict[str, Any]], clicks: Sequence[dict[str, Any]] = (), **login: str
) -> Any:
    """Log in by ``name`` and ``password``, or as a provider's ``subject``; visit, click, and say what is seen."""
    _install()
    request = {"chromium": tool("chromium"), "url": url, "folder": str(folder), "visits": visits, "clicks": clicks}
    command, asked = [tool("node"), str(VIEWER / "pages.mjs")], json.dumps(request | login)
    ended = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@cache
def _install() -> None:
    subprocess.run(["bash", str(VIEWER / "install.sh")], check=True)
