"""How a step of this station rests between two turns."""


class Pause:
    """A time to rest, by a clock that may be set back meanwhile."""

    def __init__(self) -> None:
        self._begun, self._lasts_s = 0.0, 0.0

    def begin(self, now: float, lasts_s: float) -> None:
        self._begun, self._lasts_s = now, lasts_s

    def holds(self, now: float) -> bool:
        return 0 <= now - self._begun < self._lasts_s
