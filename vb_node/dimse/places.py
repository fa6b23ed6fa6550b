"""Places: so many connections of one host, or associations of one peer, there may be at once."""

import logging
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
        self._ours: defaultdict[str, set[int]] = defaultdict(set)
        self._lock = threading.RLock()  # a place may be given back by the collector of garbage, wherever we are
        self._has_told = False

    def take(self, wanted: Mapping[str, int]) -> list[Place]:
        """Take one place of each kind, of so many as there are; none at all where one is not free."""
        taken: list[Place] = []
        with self._lock:
            try:
                for kind, most in wanted.items():
                    place = self._take(kind, most)
                    if place is None:
                        self.give(taken)
                        return []
                    taken.append(place)
            except BaseException:
                self.give(taken)
                raise
        return taken

    def _take(self, kind: str, most: int) -> Place | None:
        for number in range(most):
            place = Place(kind, number)
            if number not in self._ours.get(kind, ()) and self._is_free(place):
                try:
                    self._ours[kind].add(number)
                except BaseException:
                    self._let_go(place)
                    raise
                return place
        return None

    def _is_free(self, place: Place) -> bool:
        try:
            return self._locks is None or self._locks.take(str(place))
        except OSError as error:  # then at least our own count
            self._tell(error)
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
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        """Say it once: whoever connects would have it said again."""
        if not self._has_told:
            self._has_told = True
            log.error("places are counted by each process alone", extra={"why": str(error)})
