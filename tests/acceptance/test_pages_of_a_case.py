"""A head with a tumour on the pages, from its first image on: where people look for the prior, there it is."""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from processes import TOML, Node, free_port, is_ready, storescp, wait_until
from walk import PASSWORD, Walk, prepare, send

from vb_node.demo import PHANTOM_SEED
from vb_node.dicom.key_image import ORANGE, panel
from vb_node.training.phantom import PhantomCase, class_of, generate, make_case

WEB = "\n[web]\nport = {port}\n"
SHOWN = "Drag to move the cross"
NEAR_PX = 16
QUIET_S = 45  # a visit of the pages lies between the two halves of the case


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(PHANTOM_SEED, class_of(0))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """Give a node to which half of a phantom has come; ``seen`` holds what its pages said then."""
    home = tmp_path_factory.mktemp("case")
    port, pacs_port, web_port = free_port(), free_port(), free_port()
    (home / "node").mkdir()
    node = Node(
        home / "node", TOML.format(port=port, pacs_port=pacs_port, quiet_s=QUIET_S) + WEB.format(port=web_port), port
    )
    made = prepare(node, web_port, "case")
    (study,) = generate(home / "study", 1, PHANTOM_SEED, "dicom", lambda *_: None)
    files = sorted(path for path in study.rglob("*") if path.is_file())
    half = home / "half"
    half.mkdir()
    for path in files[: len(files) // 2]:
        (half / path.name).symlink_to(path)
    with storescp(home / "pacs", pacs_port):
        node.start()
        try:
            wait_until(lambda: is_ready(made.url), 60, "the pages answer")
            send(half, port)
            made.seen = made.visit("a-viewer", [{"path": "/jobs"}])
            send(study, port)
            wait_until(lambda: [one.state for one in node.jobs()] == ["COMPLETED"], 300, "the job has ended")
            wait_until(lambda: {one.state for one in node.deliveries()} == {"sent"}, 60, "its results are at the PACS")
            yield made
        finally:
            node.stop()


@pytest.fixture(scope="module")
def browser(walk: Walk) -> Iterator[httpx2.Client]:
    """Give what a browser of the viewer holds after its login."""
    with httpx2.Client(base_url=walk.url) as client:
        client.post("/login", data={"name": "a-viewer", "password": PASSWORD}, headers={"Origin": walk.url})
        yield client


@pytest.fixture(scope="module")
def shown(walk: Walk) -> Any:
    looks = [("dark", 1280), ("light", 390)]
    visits = [
        {"path": "/jobs/1"},
        *({"path": "/jobs/1/volume", "scheme": s, "width": w, "until": SHOWN} for s, w in looks),
    ]
    return walk.visit("a-viewer", [*visits, {"path": "/"}, {"path": "/jobs"}])


def test_a_series_stands_on_the_page_of_jobs_while_it_arrives(walk: Walk) -> None:
    (page,) = walk.seen["pages"]

    assert "Arriving" in page["text"]
    assert "Images so far" in page["text"]


def test_the_page_of_the_job_shows_the_outline_where_the_lesion_is(
    case: PhantomCase, browser: httpx2.Client, shown: Any
) -> None:
    places = re.findall(r"/jobs/1/slices/\d+\.png", browser.get("/jobs/1").text)
    k = int(case.labels.sum(axis=(1, 2)).argmax())
    drawn = panel(case.volume.voxels[k], case.labels[k] > 0, case.volume.grid, "")

    picture = np.array(Image.open(BytesIO(browser.get(places[0]).content)))

    assert np.abs(_outline(picture) - _outline(drawn)).max() < NEAR_PX
    assert "where the network sees a tumour" in shown["pages"][0]["text"]


def test_the_volume_is_shown_in_three_planes_with_the_prior_in_red(walk: Walk, shown: Any) -> None:
    pages = [page for page in shown["pages"] if page["path"] == "/jobs/1/volume"]

    assert all(SHOWN in page["text"] for page in pages)
    picture = np.array(Image.open(walk.folder / "-jobs-1-volume-dark-1280.png").convert("RGB")).astype(int)
    is_red = (
        (picture[..., 0] > 90) & (picture[..., 0] > picture[..., 1] + 60) & (picture[..., 0] > picture[..., 2] + 60)
    )
    is_grey = (np.ptp(picture, axis=2) < 8) & (picture[..., 0] > 30) & (picture[..., 0] < 230)
    assert is_red.sum() > 200
    assert is_grey.sum() > 20_000


def test_no_page_of_the_case_has_an_error_or_a_serious_violation_or_is_too_wide(shown: Any) -> None:
    assert (shown["errors"], shown["foreign"]) == ([], [])
    assert {page["path"]: page["violations"] for page in shown["pages"] if page["violations"]} == {}
    assert {(page["path"], page["width"]) for page in shown["pages"] if page["overflow"] > 0} == set()


def test_the_overview_says_who_sent_and_which_stations_live(shown: Any) -> None:
    text = " ".join(shown["pages"][3]["text"].split())

    assert "SENDER" in text
    for station in ("assemble 1", "deliver 1", "receive 1", "work 1"):
        assert f"alive {station}" in text


def test_a_viewer_can_neither_retry_nor_read_the_audit_trail(browser: httpx2.Client, shown: Any) -> None:
    assert shown["pages"][0]["buttons"] == []
    assert browser.get("/audit").status_code == 403


def _outline(picture: Any) -> Any:
    """Give the middle of the outline in a picture, in pixels."""
    return np.argwhere((picture == ORANGE).all(axis=2)).mean(axis=0)
