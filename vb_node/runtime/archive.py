"""A small archive for the demonstration: it takes what comes by C-STORE and keeps it in a folder. It is no PACS."""

import hashlib
from pathlib import Path

from vb_node.dimse import scp
from vb_node.dimse.scp import StoreRequest
from vb_node.runtime.receive import part10


class Archive:
    """An AE that stores every instance as a file ``<SOP Instance UID digest>.dcm``; stop it with ``close``."""

    def __init__(self, ae_title: str, host: str, port: int, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._server = scp.listen(ae_title, (host, port), self._store, peers=None)

    def _store(self, request: StoreRequest) -> None:
        name = hashlib.sha256(request.sop_instance_uid.encode()).hexdigest()[:32]
        (self.folder / f"{name}.dcm").write_bytes(part10(request) + request.data)

    def files(self) -> list[Path]:
        """List what has come, oldest first."""
        return sorted(self.folder.glob("*.dcm"), key=lambda path: path.stat().st_mtime_ns)

    def close(self) -> None:
        self._server.shutdown()
