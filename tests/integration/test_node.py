"""The node as processes, with DCMTK around it: what was answered Success is never lost, and comes to its end once."""

import hashlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import affine, data_set_of, head, mr_series, write
from processes import HOST, Node, free_port, storescp, storescu, tool, wait_until
from pydicom import dcmread

from storage import outages
from storage.schema import Job
from vb_node import __version__, changes, config
from vb_node.dicom import codes
from vb_node.dicom.sr_tree import find

DONE_S, ORPHANS_S = 120.0, 10.0
MakeNode = Callable[..., Node]


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """A slab that claims to be a contrast-enhanced head, too thin for one: a job that ends soon, with a report."""
    datasets = mr_series(
        head((20, 40, 40)), affine((3.0, 2.0, 2.0)), SeriesDescription="AX T1 +C", ContrastBolusAgent="Gd"
    )
    return write(datasets, tmp_path / "series")


def _reports(pacs: Path) -> list[Path]:
    return [path for path in pacs.glob("*") if dcmread(path).Modality == "SR"]


def _only(jobs: list[Job]) -> Job:
    assert len(jobs) == 1
    return jobs[0]


def test_a_series_comes_in_and_one_report_goes_out(make_node: MakeNode, tmp_path: Path, series: list[Path]) -> None:
    port = free_port()
    node = make_node(port)
    with storescp(tmp_path / "pacs", port) as pacs:
        node.start()

        sent = storescu(node, series)
        wait_until(lambda: node.is_done(1), DONE_S, "the job ends")

        assert sent.returncode == 0
        job = _only(node.jobs())
        assert (job.state, job.reason) == ("FAILED", "OutOfCoverage")
        (report,) = _reports(pacs)
        assert dcmread(report).StudyInstanceUID == job.study_instance_uid


def test_what_is_in_the_spool_is_what_was_sent(make_node: MakeNode, series: list[Path]) -> None:
    node = make_node(free_port(), quiet_s=60)
    node.start()

    storescu(node, series, "SENDER", "-xe")
    wait_until(lambda: len(node.events(event="instance received")) == len(series), 20, "the rows follow")

    stored = {hashlib.sha256(data_set_of(path)).hexdigest() for path in (node.home / "data" / "spool").rglob("*.dcm")}
    assert stored == {event.details["sha256"] for event in node.events(event="instance received")}
    assert len(stored) == len(series)


def test_the_same_study_sent_twice_is_one_job(make_node: MakeNode, tmp_path: Path, series: list[Path]) -> None:
    port = free_port()
    node = make_node(port)
    with storescp(tmp_path / "pacs", port) as pacs:
        node.start()
        storescu(node, series)
        wait_until(lambda: node.is_done(1), DONE_S, "the first job ends")

        again = storescu(node, series)
        time.sleep(3)

        assert again.returncode == 0
        assert node.is_done(1)
        assert len(node.jobs()) == 1
        assert len(_reports(pacs)) == 1


def test_a_late_slice_makes_a_revision_that_names_its_predecessor(
    make_node: MakeNode, tmp_path: Path, series: list[Path]
) -> None:
    port = free_port()
    node = make_node(port)
    with storescp(tmp_path / "pacs", port) as pacs:
        node.start()
        ordered = sorted(series, key=lambda path: float(dcmread(path).ImagePositionPatient[2]))
        storescu(node, ordered[:-1])
        wait_until(lambda: node.is_done(1), DONE_S, "the first job ends")
        (first,) = _reports(pacs)

        storescu(node, ordered[-1:])
        wait_until(lambda: node.is_done(2), DONE_S, "the revision ends")

        earlier, later = node.jobs()
        (second,) = [path for path in _reports(pacs) if path != first]
        before, after = dcmread(first), dcmread(second)
        named = after.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        assert later.supersedes_id == earlier.id
        assert named.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert after.SeriesInstanceUID == before.SeriesInstanceUID
        assert (before.InstanceNumber, after.InstanceNumber) == (1, 2)
        assert any("Revision 2: supersedes revision 1" in item.TextValue for item in find(after, codes.COMMENT))


def test_each_destination_gets_what_its_viewers_show(make_node: MakeNode, tmp_path: Path, series: list[Path]) -> None:
    port = free_port()
    node = make_node(port)
    old = '[[destinations]]\nname = "old"\nkind = "folder"\nfolder = "old"\nviewer_profile = "key-images"\n'
    node.config.write_text(node.config.read_text().replace('["pacs"]', '["pacs", "old"]') + old)
    with storescp(tmp_path / "pacs", port) as pacs:
        node.start()

        storescu(node, series)
        wait_until(lambda: node.is_done(1), DONE_S, "the job ends")

        assert sorted(dcmread(path).Modality for path in pacs.iterdir()) == ["OT", "SR"]
        assert [dcmread(path).Modality for path in (node.home / "old").glob("*.dcm")] == ["OT"]


@pytest.mark.parametrize("station", ["receive", "assemble", "work", "deliver"])
def test_a_killed_station_loses_nothing(make_node: MakeNode, tmp_path: Path, series: list[Path], station: str) -> None:
    port = free_port()
    node = make_node(port)
    with storescp(tmp_path / "pacs", port) as pacs:
        node.start()
        storescu(node, series[:10])
        node.kill_station(station)
        wait_until(node.answers, 20, "the node answers again")

        storescu(node, series)
        wait_until(lambda: node.is_done(1), DONE_S, "the job ends")

        job = node.jobs()[-1]
        assert len(job.inputs) == len(series)
        assert len({dcmread(path).SOPInstanceUID for path in _reports(pacs)}) == len(node.jobs())


def test_a_node_killed_in_mid_job_finishes_it_with_the_same_uids(
    make_node: MakeNode, tmp_path: Path, series: list[Path]
) -> None:
    port = free_port()
    node, twin = make_node(port), make_node(port)
    with storescp(tmp_path / "pacs", port) as pacs:
        node.start()
        storescu(node, series)
        wait_until(lambda: any(job.state == "IN PROGRESS" for job in node.jobs()), 60, "the job begins")
        node.kill()

        node.start()
        wait_until(lambda: node.is_done(1), DONE_S, "the job ends after the restart")
        node.stop()
        twin.start()
        storescu(twin, series)
        wait_until(lambda: twin.is_done(1), DONE_S, "the undisturbed twin ends")

        job, undisturbed = _only(node.jobs()), _only(twin.jobs())
        assert job.attempts >= 2
        assert [result.sop_instance_uid for result in job.results] == [
            result.sop_instance_uid for result in undisturbed.results
        ]
        assert len(_reports(pacs)) == 1


def test_r_20_a_killed_supervisor_takes_its_stations_along_and_the_next_one_finds_the_port_free(
    make_node: MakeNode,
) -> None:
    node = make_node(free_port())
    node.start()

    begun = time.monotonic()
    node.kill()
    took_s = time.monotonic() - begun
    node.start()

    assert took_s < ORPHANS_S
    assert node.answers()


def test_answered_instances_survive_random_kills(make_node: MakeNode, series: list[Path]) -> None:
    node = make_node(free_port(), quiet_s=60)
    node.start()
    answered: set[str] = set()

    for start in range(0, len(series), 4):
        batch = series[start : start + 4]
        sender = subprocess.Popen(
            [tool("storescu"), "-aet", "SENDER", "-aec", "VBNODE", HOST, str(node.port), *map(str, batch)]
        )
        time.sleep(0.05 * (start // 4))
        for listener in node.stations("receive"):
            listener.send_signal(signal.SIGKILL)
        if sender.wait() == 0:
            answered |= {path.stem for path in batch}
        wait_until(node.answers, 30, "the node answers again")
        answered |= {path.stem for path in batch if storescu(node, [path]).returncode == 0}

    assert answered
    wait_until(lambda: answered <= _received(node), 20, "the ledger holds all that was answered")


def _received(node: Node) -> set[str | None]:
    return {event.sop_instance_uid for event in node.events(event="instance received")}


def test_an_unknown_peer_is_not_answered(make_node: MakeNode, series: list[Path]) -> None:
    node = make_node(free_port())
    node.start()

    stranger = storescu(node, series[:1], "STRANGER")

    assert stranger.returncode != 0
    assert "Calling AE Title Not Recognized" in stranger.stdout + stranger.stderr
    wait_until(lambda: bool(node.events(event="association rejected")), 20, "the rejection is told")
    assert [event.peer for event in node.events(event="association rejected")] == ["STRANGER"]


def test_the_start_and_the_end_of_the_node_stand_in_its_audit_trail(make_node: MakeNode) -> None:
    node = make_node(free_port())

    node.start()
    node.stop()

    started, stopped = node.events(event="node started"), node.events(event="node stopped")
    assert [one.details for one in started] == [
        {"version": __version__, "configuration_sha256": changes.digest(config.load(node.config))}
    ]
    assert [one.details["exit_status"] for one in stopped] == [0]


def test_results_wait_for_a_pacs_that_is_down(make_node: MakeNode, tmp_path: Path, series: list[Path]) -> None:
    port = free_port()
    node = make_node(port)
    node.start()
    storescu(node, series)
    wait_until(lambda: any(sent.state == "retry" for sent in node.deliveries()), DONE_S, "the first try fails")

    with storescp(tmp_path / "pacs", port) as pacs:
        wait_until(lambda: node.is_done(1), 60 + outages.PROBE_S, "the report is delivered")

        assert len(_reports(pacs)) == 1
    assert {sent.state for sent in node.deliveries()} == {"sent"}
