"""Where the thread of an association that we began waits while a request is answered.

pynetdicom 3.0 lets that thread take messages of the peer, and halts it around each request; but it counts the thread
as halted a moment before it is. An answer that comes within this moment is thrown away as "unexpected", and the sender
waits for it until its timeout: one of some hundred instances where six associations keep two processors busy
(pynetdicom issues 435 and 875 tell of the same).
"""

import threading
from typing import cast

from pynetdicom.association import Association

LOOK_S = 0.05


class Checkpoint:
    """What an association's ``threading.Event`` does, but ``clear`` returns when the thread really waits."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._changed = threading.Condition()
        self._is_open = True
        self._is_held = False

    def is_set(self) -> bool:
        return self._is_open

    def set(self) -> None:
        """Let the thread go on."""
        with self._changed:
            self._is_open, self._is_held = True, False
            self._changed.notify_all()

    def clear(self) -> None:
        """Halt the thread; return when it waits, or is no more."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
            while not self._is_held and self._association.is_alive():
                self._changed.wait(LOOK_S)
        if not self._is_held:
            self._association._is_paused = True  # or its user waits for ever for a thread that ended

    def wait(self) -> None:
        """Wait while halted."""
        with self._changed:
            while not self._is_open:
                self._is_held = True
                self._changed.notify_all()
                self._changed.wait()


def install(association: Association) -> None:
    """Put a checkpoint into an association that was just established."""
    association._reactor_checkpoint = cast(threading.Event, Checkpoint(association))
