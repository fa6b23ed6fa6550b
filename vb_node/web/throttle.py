"""How often a login may fail: one that guesses waits, whoever it claims to be (RELIABILITY W-16)."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_FAILURES, WINDOW_S = 5, 300.0
MOST_KEYS = 10_000


class Throttle:
    """Counts failures by name and by address, in the memory of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, *keys: str) -> float:
        """Say how long these have to wait before their next attempt; 0: not at all."""
        with self._lock:
            return max(map(self._wait_s, keys))

    def fail(self, *keys: str) -> None:
        """Count a failure of each; the key that failed longest ago is forgotten when there are too many."""
        with self._lock:
            for key in keys:
                self._failures[key] = [*self._failures.pop(key, []), self._clock()][-MOST_FAILURES:]
            while len(self._failures) > MOST_KEYS:
                self._failures.popitem(last=False)

    def forget(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)

    def _wait_s(self, key: str) -> float:
        failures = self._failures.get(key, [])
        if len(failures) < MOST_FAILURES:
            return 0.0
        return max(0.0, failures[0] + WINDOW_S - self._clock())
