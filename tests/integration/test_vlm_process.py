"""`vb-node process` with a model behind a URL, from DICOM to the report: what it says, and what left the machine."""

import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from sighted import Sighted
from vlm_server import vlm_server

from vb_node.applications.virtual_biopsy.choice import UNVERIFIED
from vb_node.applications.virtual_biopsy.vlm import wording
from vb_node.training.phantom import PhantomCase, make_case
from vb_node.training.phantom_dicom import write_dicom

SEED = 27
PERSON = {
    "PatientName": "Kowalczyk^Jadwiga",
    "PatientID": "MRN-7731942",
    "PatientBirthDate": "19530214",
    "AccessionNumber": "ACC-550817",
    "InstitutionName": "St. Elsewhere",
    "ReferringPhysicianName": "Oyelaran^Tunde",
    "PatientComments": "lives at 4 Mill Lane",
    "StationName": "SCANNER9",
}
CONFIG = """
[virtual_biopsy.vlm]
url = "{url}"
served_model = "sighted"
image_px = 256
"""


@dataclass(frozen=True)
class Run:
    headers: list[Dataset]
    requests: list[tuple[str, dict[str, str], bytes]]
    summary: dict[str, Any]
    report: Dataset
    segmentation: Dataset
    case: PhantomCase


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("vlm")
    (home / "study").mkdir()
    case = make_case(SEED, "PCNSL", "thick")
    for path in write_dicom(case, home / "study"):
        instance = dcmread(path)
        for keyword, value in PERSON.items():
            setattr(instance, keyword, value)
        instance.save_as(path)
    with vlm_server() as server:
        server.model = Sighted(recall=0.7, jitter=0.25, false=0.12)
        (home / "node.toml").write_text(CONFIG.format(url=server.url))
        command = [sys.executable, "-m", "vb_node", "process", "study", "--out", "out", "--config", "node.toml"]
        ended = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        summary = json.loads((home / "out" / "result.json").read_text())["summary"]
        report = dcmread(next((home / "out").glob("*-sr.dcm")))
        segmentation = dcmread(next((home / "out").glob("*-seg.dcm")))
        headers = [dcmread(path, stop_before_pixels=True) for path in (home / "study").iterdir()]
        yield Run(headers, list(server.came), summary, report, segmentation, case)


def _values(headers: list[Dataset]) -> set[str]:
    """Collect every text, date and UID of the headers, and the parts of names."""
    found: set[str] = set()
    for header in headers:
        for element in header.iterall():
            if element.VR not in {"SQ", "OB", "OW", "DS", "IS", "FL", "FD", "US", "SS", "CS"}:
                text = str(element.value)
                found |= {text, *text.replace("^", " ").replace("-", " ").split()}
    return {text for text in found if len(text) >= 4}


def test_nothing_of_any_header_is_in_a_request(run: Run) -> None:
    values = _values(run.headers)
    prompts = " ".join(
        wording.prompt(name).system + wording.prompt(name).user.template for name in (wording.SLICE, wording.DETAIL)
    )
    ours = {value for value in values if value in prompts}  # such words as "brain", which every request has

    assert {"Kowalczyk", "Jadwiga", "MRN-7731942", "19530214", "Oyelaran", "Mill"} <= values - ours
    assert len(run.requests) > 30
    for path, headers, body in run.requests:
        words = json.loads(body)
        pictures = [words["messages"][1]["content"].pop(0)["image_url"]["url"]]
        whole = " ".join((path, json.dumps(headers), json.dumps(words)))
        assert [value for value in values - ours if value in whole] == []
        for url in pictures:
            data = b64decode(url.removeprefix("data:image/png;base64,"))
            assert Image.open(BytesIO(data)).info == {}
            assert [value for value in values if value.encode() in data] == []


def test_a_weak_model_finds_the_tumour_of_a_whole_head(run: Run) -> None:
    grid = run.case.volume.grid
    lesion = run.case.labels > 0
    found = np.zeros_like(lesion)
    frames = run.segmentation.PerFrameFunctionalGroupsSequence
    for frame, pixels in zip(frames, run.segmentation.pixel_array.reshape(-1, *grid.shape[1:]), strict=True):
        place = np.array([frame.PlanePositionSequence[0].ImagePositionPatient], dtype=float)
        found[round(float(grid.to_index(place)[0, 0]))] |= pixels > 0

    assert run.summary["state"] == "localised"
    assert (found & lesion).sum() > 0.3 * lesion.sum()
    assert found.sum() < 3 * lesion.sum()


def test_a_request_holds_a_picture_a_prompt_and_settings_alone(run: Run) -> None:
    for _, headers, body in run.requests:
        asked = json.loads(body)
        assert set(asked) == {"model", "messages", "max_tokens", "temperature", "seed"}
        assert {name.lower() for name in headers} <= {
            *("host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length")
        }


def test_the_report_says_which_model_and_which_prompts_and_what_could_not_be_verified(run: Run) -> None:
    text = "\n".join(str(element.value) for element in run.report.iterall() if element.VR != "SQ")

    assert UNVERIFIED in text
    assert '"served_model": "sighted"' in text
    for digest in wording.digests().values():
        assert digest in text
    assert "127.0.0.1" not in text


def test_the_summary_keeps_what_the_model_said(run: Run) -> None:
    vlm = run.summary["vlm"]

    assert vlm["pictures"] == len(run.requests) - 2  # those of the self-test
    assert vlm["unreadable"] == 0
    assert {said["prompt"] for said in vlm["said"]} <= {"slice-1", "detail-1"}
