"""Places of associations and connections: of one process, and of several that share locks."""

import errno
from pathlib import Path

import pytest

from storage.byte_locks import ByteLocks
from vb_node.dimse.places import Places

ONE_OF_TWO = {"associations": 2}


def test_there_are_as_many_places_as_are_asked_for_and_one_given_back_is_free() -> None:
    places = Places()
    first, second = places.take(ONE_OF_TWO), places.take(ONE_OF_TWO)

    assert first
    assert second
    assert not places.take(ONE_OF_TWO)
    places.give(first)
    assert places.take(ONE_OF_TWO)


def test_where_one_kind_is_full_the_other_keeps_its_place() -> None:
    places = Places()
    places.take({"associations": 3, "associations of CT1": 1})

    assert not places.take({"associations": 3, "associations of CT1": 1})
    assert places.take({"associations": 3, "associations of CT2": 1})
    assert places.take({"associations": 3})
    assert not places.take({"associations": 3})


def test_places_of_two_processes_count_together_and_are_free_when_one_is_gone(tmp_path: Path) -> None:
    """A lock of the kernel is another one's by the file that was opened, of this process too."""
    locks = [ByteLocks(tmp_path / "places.lock") for _ in range(2)]
    first, second = map(Places, locks)
    held = [first.take({"associations": 5}), second.take({"associations": 5}), first.take({"associations": 5})]
    held += [second.take({"associations": 5}), first.take({"associations": 5})]

    assert all(held)
    assert not first.take({"associations": 5})
    assert not second.take({"associations": 5})
    locks[0].close()
    assert [bool(second.take({"associations": 5})) for _ in range(4)] == [True, True, True, False]
    locks[1].close()


class _Scarce:
    """Locks of a process that has no memory for the second kind."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def take(self, name: str) -> bool:
        if name.endswith("of the host"):
            raise MemoryError
        self.taken.add(name)
        return True

    def let_go(self, name: str) -> None:
        self.taken.discard(name)


def test_what_fails_half_way_leaves_no_place_taken() -> None:
    locks = _Scarce()
    places = Places(locks)

    with pytest.raises(MemoryError):
        places.take({"connections": 1, "connections of the host": 1})

    assert not locks.taken
    assert places.take({"connections": 1})


class _Failing:
    """A disk that gives no locks any more."""

    def take(self, name: str) -> bool:
        raise OSError(errno.ENOLCK, name)

    def let_go(self, name: str) -> None:
        raise OSError(errno.ENOLCK, name)


def test_where_locks_fail_each_process_counts_for_itself() -> None:
    places = Places(_Failing())

    first = places.take(ONE_OF_TWO)
    assert places.take(ONE_OF_TWO)
    assert not places.take(ONE_OF_TWO)
    places.give(first)
    assert places.take(ONE_OF_TWO)
