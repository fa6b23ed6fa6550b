"""A PACS that does not answer never holds up the assembler."""

import json
import socket
import time
from collections.abc import Iterator

import pytest
from http_peer import Peer, http_peer

from vb_node.config import DestinationSettings
from vb_node.errors import Later
from vb_node.runtime.destinations import open_destination
from vb_node.runtime.inquiry import Inquiry

JSON = {"Content-Type": "application/dicom+json"}


def _inquiry(**settings: object) -> Inquiry:
    filled = {"name": "pacs", "ae_title": "PACS", "timeout_s": 1.0} | settings
    return Inquiry("pacs", open_destination(DestinationSettings.model_validate(filled), "VBNODE").count_by_series)


@pytest.fixture
def service() -> Iterator[Peer]:
    with http_peer() as peer:
        peer.headers = JSON
        yield peer


@pytest.fixture
def frozen() -> Iterator[int]:
    """Give a peer that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("kind", ["dimse", "stow"])
def test_a_frozen_pacs_costs_a_moment_and_counts_nothing(frozen: int, kind: str) -> None:
    inquiry = _inquiry(kind=kind, port=frozen, url=f"http://127.0.0.1:{frozen}")

    began = time.monotonic()
    answers = [inquiry.counted("1.2", 10.0, 11.0) for _ in range(10)]

    assert answers == [{}] * 10
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["dimse", "stow"])
def test_a_pacs_that_is_down_counts_nothing(kind: str) -> None:
    inquiry = _inquiry(kind=kind, port=1, url="http://127.0.0.1:1")

    assert inquiry.counted("1.2", 10.0, 11.0) == {}


@pytest.mark.parametrize("fault", [AttributeError("no SeriesInstanceUID"), RuntimeError("must be established")])
def test_an_answer_that_no_standard_knows_counts_nothing_and_holds_up_no_other_study(fault: Exception) -> None:
    def count(study_instance_uid: str) -> dict[str, int]:
        if study_instance_uid == "1.2":
            raise fault
        return {"1.3.1": 20}

    inquiry = Inquiry("pacs", count)

    assert inquiry.counted("1.2", 10.0, 11.0) == {}
    assert inquiry.counted("1.3", 10.0, 11.0) == {"1.3.1": 20}


def test_a_search_counts_the_series_that_tell_their_number(service: Peer) -> None:
    told = {"0020000E": {"vr": "UI", "Value": ["1.2.3"]}, "00201209": {"vr": "IS", "Value": [20]}}
    silent = {"0020000E": {"vr": "UI", "Value": ["1.2.4"]}, "00201209": {"vr": "IS"}}
    service.body = json.dumps([told, silent]).encode()

    assert _inquiry(kind="stow", url=service.url).counted("1.2", 10.0, 11.0) == {"1.2.3": 20}
    assert service.came[0][1].startswith("/dicom-web/studies/1.2/series?includefield=00201209")


@pytest.mark.parametrize(("status", "body"), [(500, b""), (200, b"<html>"), (200, b"[7]"), (200, b"7")])
def test_an_answer_that_is_no_search_result_counts_nothing(service: Peer, status: int, body: bytes) -> None:
    service.status, service.body = status, body
    destination = DestinationSettings(name="pacs", kind="stow", url=service.url)

    with pytest.raises(Later):
        open_destination(destination, "VBNODE").count_by_series("1.2")
    assert _inquiry(kind="stow", url=service.url).counted("1.2", 10.0, 11.0) == {}
