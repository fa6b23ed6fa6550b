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

    def attempt(self, *keys: str) -> float:
        """Say how long these have to wait before their next attempt; 0: it may be made, and counts until it succeeds.

        Counted beforehand, many attempts at once are as many. The key that tried longest ago is forgotten when there
        are too many.
        """
        with self._lock:
            wait_s = max(map(self._wait_s, keys))
            if wait_s == 0:
                for key in keys:
                    self._failures[key] = [*self._failures.pop(key, []), self._clock()][-MOST_FAILURES:]
            while len(self._failures) > MOST_KEYS:
                self._failures.popitem(last=False)
            return wait_s

    def succeed(self, *keys: str) -> None:
        """Take back the last attempt of each."""
        with self._lock:
            for key in keys:
                self._failures[key] = self._failures.get(key, [])[:-1]

    def _wait_s(self, key: str) -> float:
        failures = self._failures.get(key, [])
        if len(failures) < MOST_FAILURES:
            return 0.0
        return max(0.0, failures[0] + WINDOW_S - self._clock())
