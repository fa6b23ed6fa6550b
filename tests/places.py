"""Where things lie: this clone, and the real cases beside it."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("VB_NODE_REAL_DATA") or ROOT.parent / "shared" / "data")
