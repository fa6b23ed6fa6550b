"""R-12 at the door for STOW-RS: a full disk is told, nothing answered is lost, and with space it goes on by itself."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2
import numpy as np
import pytest
from factories import mr_series
from processes import tool, wait_until
from pydicom import Dataset
from web_process import WebProcess, said

from storage.spool import Spool
from vb_node.dimse import status
from vb_node.runtime.receive import is_intact

RECOVERY_S = 10.0


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebProcess]:
    """Give a station whose data folder is a disk of 64 MiB, with a ballast that a person may throw off."""
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run([tool("mount"), "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(data)], check=True)
    (data / "ballast").write_bytes(bytes(24 << 20))
    web = WebProcess(tmp_path)
    web.config.write_text(f"{web.config.read_text()}reserve_mb = 8\n")
    try:
        web.start()
        yield web
    finally:
        web.stop()
        subprocess.run([tool("umount"), "-l", str(data)], check=True)


def test_r_12_a_full_disk_is_told_by_stow_and_nothing_answered_is_lost(web: WebProcess) -> None:
    series = mr_series(np.random.default_rng(0).integers(0, 1000, (80, 512, 512)))
    batches = [series[start : start + 8] for start in range(0, len(series), 8)]

    answers = [web.post(batch) for batch in batches]
    kept = [one for answer in answers for one in _told(answer, "ReferencedSOPSequence")]
    failed = [one.FailureReason for answer in answers for one in _told(answer, "FailedSOPSequence")]
    not_ready = httpx2.get(f"{web.url}/ready").status_code
    (web.home / "data" / "ballast").unlink()
    wait_until(lambda: httpx2.get(f"{web.url}/ready").status_code == 200, RECOVERY_S, "the node is ready again")
    again = [web.post(batch).status_code for batch in batches]

    assert 0 < len(kept) < len(series)
    assert set(failed) == {status.OUT_OF_RESOURCES}
    assert (answers[-1].status_code, not_ready) == (503, 503)
    assert again == [200] * len(batches)
    wait_until(lambda: len(web.instances(series[0].SeriesInstanceUID)) == len(series), RECOVERY_S, "the ledger has all")
    assert all(_is_kept(web, uid, sha256) for uid, sha256 in _digests(web, series[0].SeriesInstanceUID))
    assert web.orphans() == []


def _told(answer: httpx2.Response, keyword: str) -> Sequence[Dataset]:
    """Give what an answer says of instances; one that refuses by the watermark says nothing of any."""
    is_told = answer.headers["content-type"] == "application/dicom+json"
    return said(answer).get(keyword, []) if is_told else []


def _digests(web: WebProcess, series_instance_uid: str) -> list[tuple[str, str]]:
    return [(one.sop_instance_uid, one.sha256) for one in web.instances(series_instance_uid)]


def _is_kept(web: WebProcess, sop_instance_uid: str, sha256: str) -> bool:
    return is_intact(Spool(web.home / "data" / "spool").path_of(sop_instance_uid, sha256), sha256)
