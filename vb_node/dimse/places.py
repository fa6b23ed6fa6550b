"""Places: so many connections of one host, or associations of one peer, there may be at once."""

import logging
import random
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)


class Locks(Protocol):
    """Locks by name, which other processes see."""

    def take(self, name: str) -> bool:
        """Take one; say whether it is ours now. Raise ``OSError``."""
        ...

    def let_go(self, name: str) -> None:
        """Let one go; raise ``OSError``."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a kind: the locks say who of several processes has it."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.number} of {self.kind}"


class Places:
    """Gives places, and takes them back; with ``locks`` those of all processes that share them count together."""

    def __init__(self, locks: Locks | None = None) -> None:
        self._locks = locks
        self._first = random.randrange(1 << 16)  # noqa: S311  where this process looks first, guards no secret
        self._ours: defaultdict[str, set[int]] = defaultdict(set)
        self._lock = threading.RLock()  # a place may be given back by the collector of garbage, wherever we are

    def take(self, wanted: Mapping[str, int]) -> list[Place]:
        """Take one place of each kind, of so many as there are; none at all where one is not free."""
        taken: list[Place] = []
        with self._lock:
            for kind, most in wanted.items():
                place = self._take(kind, most)
                if place is None:
                    self.give(taken)
                    return []
                taken.append(place)
        return taken

    def _take(self, kind: str, most: int) -> Place | None:
        ours = self._ours.get(kind, ())
        for step in range(most):
            place = Place(kind, (self._first + step) % most)
            if place.number not in ours and self._is_free(place):
                self._ours[kind].add(place.number)
                return place
        return None

    def _is_free(self, place: Place) -> bool:
        try:
            return self._locks is None or self._locks.take(str(place))
        except OSError:  # then at least our own count
            log.exception("places are not shared", extra={"place": str(place)})
            return True

    def give(self, places: list[Place]) -> None:
        """Give places back."""
        with self._lock:
            for place in places:
                self._ours[place.kind].discard(place.number)
                if not self._ours[place.kind]:
                    del self._ours[place.kind]
                self._let_go(place)

    def _let_go(self, place: Place) -> None:
        try:
            if self._locks is not None:
                self._locks.let_go(str(place))
        except OSError:
            log.exception("place not given back", extra={"place": str(place)})
