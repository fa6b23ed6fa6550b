"""What is kept of a long computation is used again only by the code that made it."""

from functools import cache
from hashlib import sha256
from pathlib import Path

import vb_node

# The packages that decide what becomes of a case, from its files to its class.
DECIDING = ("applications", "dicom", "evaluation", "models", "pipeline", "training", "types.py")


@cache
def code_sha256() -> str:
    """Give one digest over the sources of this node that decide what becomes of a case."""
    return sha256_of(Path(vb_node.__file__).parent)


def sha256_of(root: Path) -> str:
    """Give one digest over the sources of the deciding packages in ``root``: their names and their text."""
    whole = sha256()
    for name in DECIDING:
        found = [root / name] if name.endswith(".py") else sorted((root / name).rglob("*.py"))
        for path in found:
            whole.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return whole.hexdigest()
