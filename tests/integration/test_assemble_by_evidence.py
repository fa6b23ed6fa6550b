"""A running node, DCMTK's storescu in its ways of sending, an Orthanc that counts: what closes a study, and when."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from factories import affine, head, mr_series, write
from pdu import Raw, store_rq
from processes import HOST, TOML, Node, Orthanc, free_port, storescu, tool, wait_until
from pydicom import Dataset
from pydicom.uid import generate_uid

from storage.schema import Event

SLICES = 20
SETTLE_S, CLOSED_S = 3, 40.0


@pytest.fixture
def study() -> str:
    return str(generate_uid())


def _datasets(study: str, **attributes: object) -> list[Dataset]:
    told = {"SeriesDescription": "AX T1 +C", "ContrastBolusAgent": "Gd", "StudyInstanceUID": study}
    return mr_series(head((SLICES, 40, 40)), affine((3.0, 2.0, 2.0)), **(told | attributes))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Orthanc]]:
    """Give a node whose quiet time no test waits for, so that what closes a study is evidence, and the PACS it asks."""
    home = tmp_path_factory.mktemp("node")
    orthanc = Orthanc(tmp_path_factory.mktemp("pacs") / "orthanc", free_port(), free_port())
    port = free_port()
    toml = TOML.format(port=port, pacs_port=orthanc.port, quiet_s=120)
    node = Node(home, toml.replace("quiet_s = 120", f'quiet_s = 120\nsettle_s = {SETTLE_S}\nask = "pacs"'), port)
    orthanc.start()
    node.start()
    yield node, orthanc
    node.stop()
    orthanc.stop()


@pytest.fixture
def node(house: tuple[Node, Orthanc]) -> Node:
    return house[0]


def _closed_by(node: Node, study: str) -> list[str]:
    told = node.events(event="series closed", study_instance_uid=study)
    return [event.details["evidence"] for event in told]


def _inputs(node: Node, study: str) -> list[int]:
    """Wait until a study has made a job; give the number of instances of each of its jobs."""
    wait_until(lambda: bool(node.events(event="job scheduled", study_instance_uid=study)), CLOSED_S, "a job is made")
    return [len(job.inputs) for job in node.jobs() if job.study_instance_uid == study]


def test_one_association_and_unbroken_geometry_close_a_study(node: Node, tmp_path: Path, study: str) -> None:
    storescu(node, write(_datasets(study), tmp_path))

    assert _inputs(node, study) == [SLICES]
    assert _closed_by(node, study) == [f"released by SENDER, unbroken geometry, quiet for {SETTLE_S} s"]


def test_the_count_of_the_headers_closes_a_study_at_its_release(node: Node, tmp_path: Path, study: str) -> None:
    storescu(node, write(_datasets(study, ImagesInAcquisition=SLICES, AcquisitionNumber=1), tmp_path))

    assert _inputs(node, study) == [SLICES]
    assert _closed_by(node, study) == [f"released by SENDER, {SLICES} instances as the headers count"]


def test_d_27_one_association_for_each_instance_gives_one_job(node: Node, tmp_path: Path, study: str) -> None:
    for path in write(_datasets(study), tmp_path):
        storescu(node, [path])

    assert _inputs(node, study) == [SLICES]
    assert len(_closed_by(node, study)) == 1


def test_a_23_two_peers_that_send_one_series_at_once_make_one_job(node: Node, tmp_path: Path, study: str) -> None:
    paths = write(_datasets(study), tmp_path)

    with ThreadPoolExecutor(2) as pool:
        sent = list(pool.map(lambda _: storescu(node, paths).returncode, range(2)))

    assert sent == [0, 0]
    assert _inputs(node, study) == [SLICES]
    assert len(_closed_by(node, study)) == 1


def test_d_02_a_study_that_is_sent_again_when_it_is_closed_makes_no_second_job(
    node: Node, tmp_path: Path, study: str
) -> None:
    paths = write(_datasets(study), tmp_path)
    storescu(node, paths)
    once = _inputs(node, study)

    storescu(node, paths)
    wait_until(lambda: len(_closed_by(node, study)) == 2, CLOSED_S, "it is judged again")

    assert (once, _inputs(node, study)) == ([SLICES], [SLICES])


def test_d_29_a_sender_killed_in_mid_series_is_waited_for(node: Node, tmp_path: Path, study: str) -> None:
    datasets = _datasets(study)
    with Raw(node.port) as sender:  # at the end of the block its connection is gone, without a release
        sender.associate()
        for dataset in datasets[:5]:
            sender.send(*store_rq(dataset, dataset.SOPClassUID, dataset.SOPInstanceUID)).status()
    time.sleep(SETTLE_S + 1)
    before, closed_early = len(_received(node, study)), _closed_by(node, study)
    storescu(node, write(datasets, tmp_path))

    assert before == 5
    assert closed_early == []
    assert _inputs(node, study) == [SLICES]
    assert len(_received(node, study)) == SLICES


def _received(node: Node, study: str) -> list[Event]:
    return node.events(event="instance received", study_instance_uid=study)


def test_d_05_two_interleaved_series_are_closed_together(node: Node, tmp_path: Path, study: str) -> None:
    one = write(_datasets(study), tmp_path / "one")
    other = write(_datasets(study, SeriesDescription="AX T2 SPACE"), tmp_path / "other")

    storescu(node, [path for pair in zip(one, other, strict=True) for path in pair])

    assert _inputs(node, study) == [SLICES]
    assert len(_closed_by(node, study)) == 2


def test_the_count_of_a_real_pacs_by_qido_closes_a_study_and_not_before(
    house: tuple[Node, Orthanc], tmp_path: Path, study: str
) -> None:
    orthanc, port = house[1], free_port()
    toml = TOML.format(port=port, pacs_port=orthanc.port, quiet_s=120)
    toml = toml.replace("quiet_s = 120", f'quiet_s = 120\nsettle_s = {SETTLE_S}\nask = "web"')
    toml += f'[[destinations]]\nname = "web"\nkind = "stow"\nurl = "{orthanc.url}/dicom-web"\n'
    node = Node(tmp_path, toml, port)
    paths = write(_datasets(study), tmp_path / "study")
    subprocess.run([tool("storescu"), "-aec", "PACS", HOST, str(orthanc.port), *map(str, paths)], check=True)
    node.start()
    try:
        storescu(node, [*paths[:9], *paths[10:]])
        time.sleep(SETTLE_S + 1)
        closed_early = _closed_by(node, study)
        storescu(node, paths)

        assert closed_early == []
        assert _inputs(node, study) == [SLICES]
        assert _closed_by(node, study) == [f"released by SENDER, {SLICES} instances as web counts"]
    finally:
        node.stop()


def test_the_count_of_a_real_pacs_closes_a_study_and_not_before(
    house: tuple[Node, Orthanc], tmp_path: Path, study: str
) -> None:
    node, orthanc = house
    paths = write(_datasets(study), tmp_path)
    subprocess.run([tool("storescu"), "-aec", "PACS", HOST, str(orthanc.port), *map(str, paths)], check=True)

    storescu(node, [*paths[:9], *paths[10:]])
    time.sleep(SETTLE_S + 1)
    closed_early = _closed_by(node, study)
    storescu(node, paths)

    assert closed_early == []
    assert _inputs(node, study) == [SLICES]
    assert _closed_by(node, study) == [f"released by SENDER, {SLICES} instances as pacs counts"]
