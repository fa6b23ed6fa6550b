"""How full the disk of the data folder is, and a reserve that lets the ledger write when everything else may not.

When a write finds no space, the reserve is given up: from then on instances are refused before they touch the disk, so
what it frees is the ledger's alone, for the audit trail and the jobs under way. With space it is put back.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_RESERVE = "reserve"


@dataclass(frozen=True)
class Disk:
    """The disk under a folder; ``warn_at`` and ``stop_at`` are used shares, 0-1."""

    folder: Path
    warn_at: float = 0.8
    stop_at: float = 0.9
    stop_free_bytes: int = 5 << 30
    reserve_bytes: int = 64 << 20

    @property
    def used(self) -> float:
        usage = shutil.disk_usage(self.folder)
        return usage.used / (usage.used + usage.free)

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    @property
    def is_spent(self) -> bool:
        """Whether a write found no space, and none has been made since."""
        return not (self.folder / _RESERVE).exists()

    def is_high(self) -> bool:
        """Say whether the disk is above the lower watermark."""
        return self.used >= self.warn_at

    def is_full(self) -> bool:
        """Say whether nothing more should be taken: above the upper watermark, too little free, or the reserve gone."""
        return self.is_spent or self.used >= self.stop_at or self.free_bytes < self.stop_free_bytes

    def spend(self) -> bool:
        """Give up the reserve if space is really out; say whether it was."""
        if self.is_spent or self.free_bytes >= max(self.reserve_bytes, 1):
            return False
        (self.folder / _RESERVE).unlink(missing_ok=True)
        return True

    def mend(self) -> bool:
        """Put the reserve back when there is space for it twice; say whether it was done."""
        if not self.is_spent or self.free_bytes < 2 * self.reserve_bytes:
            return False
        part = self.folder / f"{_RESERVE}.part"
        with part.open("wb") as file:
            if self.reserve_bytes:
                os.posix_fallocate(file.fileno(), 0, self.reserve_bytes)
        with contextlib.suppress(FileNotFoundError):  # another process of the listener was quicker
            part.rename(self.folder / _RESERVE)
        return True
