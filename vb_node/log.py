"""The log: one JSON line an event, a fixed phrase and ids, never patient data."""

import json
import logging
import sys
import time
import traceback
from typing import Any

LONGEST_VALUE = 1000
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Write a record as one line: time, level, phrase, and the ids given as ``extra``.

    Of an exception it tells place and kind but not the text, which may quote a data set.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        line = {key: _short(value) for key, value in line.items()}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = "".join(traceback.format_tb(record.exc_info[2])) + record.exc_info[0].__name__
        return json.dumps(line)


def _short(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else str(value)[:LONGEST_VALUE]


def start(level: str = "INFO") -> None:
    """Send the log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("pynetdicom", "pydicom", "alembic", "highdicom", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # pydicom's warnings quote values, and values are patient data
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
