"""The peers of the node under chaos: a sender that does not give up, and a PACS that fails one time in ten."""

import hashlib
import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

from factories import head, mr_series
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.dsutils import encode

HOST = "127.0.0.1"
SLICES, PAUSE_S, RETRY_S = 6, 1.2, 0.2
BUSY, ABORTS = 0.05, 0.10


class Sender(threading.Thread):
    """Sends one series after the other, each instance until it is answered Success; keeps what was answered.

    Over one association it sends ``at_once`` instances; before the next one it waits until it ``may_return``.
    """

    def __init__(self, port: int, pause_s: float = PAUSE_S, at_once: int = SLICES) -> None:
        super().__init__(daemon=True)
        self.port, self.pause_s, self.at_once = port, pause_s, at_once
        self.answered: dict[str, str] = {}
        self.series: dict[str, set[str]] = {}
        self.enough, self.may_return = threading.Event(), threading.Event()
        self.may_return.set()

    def run(self) -> None:
        while not self.enough.is_set():
            series = mr_series(head((SLICES, 16, 16)))
            self.series[str(series[0].SeriesInstanceUID)] = {str(one.SOPInstanceUID) for one in series}
            while series:
                some = series[: self.at_once]
                self._send(some)
                series = some + series[self.at_once :]
                time.sleep(RETRY_S)
                self.may_return.wait()
            self.enough.wait(self.pause_s)

    def _send(self, waiting: list[Dataset]) -> None:
        """Send over one association until all is answered or it breaks; release it only when all is answered."""
        ae = AE("SENDER")
        ae.connection_timeout, ae.acse_timeout, ae.dimse_timeout = 2, 10, 15
        ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
        association = ae.associate(HOST, self.port, ae_title="VBNODE")
        while association.is_established and waiting:
            answer = association.send_c_store(waiting[0])
            if answer.get("Status") == 0x0000:
                answered = waiting.pop(0)
                data = encode(answered, False, True) or b""
                self.answered[str(answered.SOPInstanceUID)] = hashlib.sha256(data).hexdigest()
            else:
                time.sleep(RETRY_S)
        association.release() if not waiting else association.abort()


class Pacs:
    """Stores every object as one fsynced line, answers A700 in 5 % and aborts after storing in 5 %."""

    def __init__(self, port: int, log: Path, seed: int) -> None:
        self._chance, self._log = random.Random(seed), log.open("w")
        self._one_writes = threading.Lock()
        self.log = log
        ae = AE("PACS")
        ae.add_supported_context(MRImageStorage, ExplicitVRLittleEndian)
        self._server: Any = ae.start_server((HOST, port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])

    def _store(self, event: Any) -> int:
        lot = self._chance.random()
        if lot < BUSY:
            return 0xA700
        data = event.request.DataSet.getvalue()
        line = [str(event.request.AffectedSOPInstanceUID), hashlib.sha256(data).hexdigest()]
        with self._one_writes:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()
            os.fsync(self._log.fileno())
        if lot < ABORTS:
            event.assoc.abort()
        return 0x0000

    def stored(self) -> list[tuple[str, str]]:
        """List (SOP Instance UID, SHA-256 of the data set) of every store, repeats included."""
        return [tuple(json.loads(line)) for line in self.log.read_text().splitlines()]

    def close(self) -> None:
        self._server.shutdown()
