"""A storage SCP that stops itself (SIGSTOP) at a chosen moment: ``python freezing_peer.py PORT MOMENT``."""

import signal
import sys
import threading

from pynetdicom import AE, AllStoragePresentationContexts, VerificationPresentationContexts, evt

MOMENTS = ("negotiation", "data set", "answer", "release")
RELEASE_RQ, P_DATA_TF = b"\x05", b"\x04"


def _freeze() -> None:
    """Stop every thread, this one first: sent to the process, the signal might let it answer before it stops."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def serve(port: int, moment: str) -> None:
    """Listen until killed; who wakes it (SIGCONT) from before an answer has a PACS that works again."""
    received, has_frozen = 0, False

    def on_data(event: evt.Event) -> None:
        nonlocal received
        received += event.data[:1] == P_DATA_TF
        if (moment == "data set" and received == 3) or (moment == "release" and event.data[:1] == RELEASE_RQ):
            _freeze()

    def on_request(_event: evt.Event) -> None:
        if moment == "negotiation":
            _freeze()

    def on_store(_event: evt.Event) -> int:
        nonlocal has_frozen
        if moment == "answer" and not has_frozen:
            has_frozen = True
            _freeze()
        return 0

    ae = AE(ae_title="PACS")
    ae.supported_contexts = [*AllStoragePresentationContexts, *VerificationPresentationContexts]
    ae.start_server(
        ("127.0.0.1", port),
        evt_handlers=[(evt.EVT_DATA_RECV, on_data), (evt.EVT_REQUESTED, on_request), (evt.EVT_C_STORE, on_store)],
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
