"""What operators ask on the command line: doctor, rules, weights, evidence; over real peers and a real ledger."""

import csv
import hashlib
import io
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest
from certificates import Authority
from factories import write
from people import add_job
from processes import HOST, free_port, storescp
from pydicom.uid import SegmentationStorage, generate_uid
from pynetdicom import AE, evt
from stations import House, series_of

from vb_node import config, doctor
from vb_node.pipeline.application import installed

T1CE = {"SeriesDescription": "AX T1 +C", "ContrastBolusAgent": "Gd", "AccessionNumber": "A123"}
TOML = """\
[node]
ae_title = "VBNODE"
[[receive.peers]]
ae_title = "PACS"
[retention]
stop_at = 1
stop_free_gb = 0
[[routes]]
name = "brains"
when = 'Modality == "MR"'
destinations = ["pacs"]
[[routes]]
name = "never"
when = 'SeriesDescription == "none such"'
[[destinations]]
name = "pacs"
ae_title = "PACS"
port = {port}
timeout_s = 3
"""


def _run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vb_node", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=home, check=False)


def _rows(ended: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert "Traceback" not in ended.stderr, ended.stderr
    return list(json.loads(ended.stdout))


def _configure(home: Path, port: int = 1) -> Path:
    (home / "node.toml").write_text(TOML.format(port=port))
    return home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return _configure(tmp_path)


@pytest.fixture
def house(home: Path) -> Iterator[House]:
    """Give a node's data with one study that has become a job."""
    made = House(home / "data", installed())
    study = generate_uid()
    made.send([*series_of(study, **T1CE), *series_of(study, SeriesDescription="AX T2", AccessionNumber="A123")])
    made.assemble()
    yield made
    made.database.close()


@contextmanager
def _picky(port: int) -> Iterator[None]:
    """Run a peer that takes C-ECHO and segmentations, and nothing else."""
    entity = AE("PACS")
    for uid in ("1.2.840.10008.1.1", SegmentationStorage):
        entity.add_supported_context(uid)
    server = entity.start_server((HOST, port), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda _event: 0)])
    try:
        yield
    finally:
        server.shutdown()


def test_the_doctor_finds_a_node_in_order_and_a_peer_that_takes_everything(tmp_path: Path) -> None:
    port = free_port()
    _configure(tmp_path, port)

    with storescp(tmp_path / "pacs", port):
        ended = _run(tmp_path, "doctor", "--json")

    found = {str(row["about"]): row for row in _rows(ended)}
    assert ended.returncode == 0, found
    assert [about for about, row in found.items() if row["state"] == "wrong"] == []
    assert found["destination pacs, Segmentation Storage"]["state"] == "good"
    assert found["route brains"]["found"] == "virtual_biopsy, to pacs"
    assert found["weights diagnoser.safetensors"]["state"] == "good"


def test_the_doctor_names_each_class_that_a_peer_does_not_take(tmp_path: Path) -> None:
    port = free_port()
    _configure(tmp_path, port)

    with _picky(port):
        found = {str(row["about"]): row for row in _rows(_run(tmp_path, "doctor", "--json"))}

    assert found["destination pacs"]["state"] == "good"
    assert found["destination pacs, Segmentation Storage"]["state"] == "good"
    assert found["destination pacs, Comprehensive 3D SR Storage"]["state"] == "doubtful"
    assert "viewer_profile" in str(found["destination pacs, Comprehensive 3D SR Storage"]["remedy"])


def test_the_doctor_ends_with_1_where_something_is_wrong_and_says_what_to_do(home: Path) -> None:
    ended = _run(home, "doctor", "--json")

    (wrong,) = [row for row in _rows(ended) if row["state"] == "wrong"]
    assert ended.returncode == 1
    assert wrong["about"] == "destination pacs"
    assert "check host and port" in str(wrong["found"])


@pytest.mark.parametrize(("days", "state"), [(-1, "wrong"), (10, "doubtful"), (40, "good")])
def test_the_doctor_looks_at_the_certificate_of_the_web_station(tmp_path: Path, days: int, state: str) -> None:
    shown = Authority(tmp_path).issue("node", days)
    tls = {"certificate": str(shown.pem), "key": str(shown.key), "require_peer": False}
    settings = config.build({"node": {"data": str(tmp_path)}, "web": {"tls": tls}})

    found = {one.about: one.state for one in doctor.examine_configuration(settings)}

    assert found["certificate of the web station"] == state


def test_a_ledger_that_is_none_is_a_finding_and_the_other_checks_go_on(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "ledger.db").write_bytes(b"no database at all " * 100)

    found = {str(row["about"]): row for row in _rows(_run(home, "doctor", "--json"))}

    assert found["ledger"]["state"] == "wrong"
    assert "clock" in found


def test_all_that_is_parked_is_sent_again_by_command_when_one_is_sure(home: Path, house: House) -> None:
    add_job(house.database)

    unsure = _run(home, "jobs", "resume", "pacs")
    sure = _run(home, "jobs", "resume", "pacs", "--yes")
    again = _run(home, "jobs", "resume", "pacs", "--yes")

    assert [ended.returncode for ended in (unsure, sure, again)] == [1, 0, 1]
    assert "Send 1 parked results to pacs again?" in unsure.stdout
    assert "1 results are on their way to pacs" in sure.stdout
    assert "nothing is parked for pacs" in again.stderr


def test_rules_say_which_route_takes_a_file_and_why_the_other_does_not(home: Path) -> None:
    file, *_ = write(series_of(generate_uid(), **T1CE), home / "study")

    ended = _run(home, "rules", "test", str(file), "--json")

    taken, left = sorted(_rows(ended), key=lambda row: str(row["route"]))
    assert ended.returncode == 0
    assert (taken["route"], taken["is_taken"], taken["destinations"]) == ("brains", True, ["pacs"])
    assert str(taken["reason"]).startswith("taken:")
    assert (left["route"], left["is_taken"], left["reason"]) == ("never", False, "the route's rule does not match")


def test_a_file_that_no_route_takes_ends_with_1(home: Path) -> None:
    file, *_ = write(series_of(generate_uid(), SeriesDescription="AX T2 SPACE"), home / "study")

    assert _run(home, "rules", "test", str(file)).returncode == 1


def test_beside_a_file_no_folder_below_is_looked_at(home: Path) -> None:
    study = generate_uid()
    file, *_ = write(series_of(study, **T1CE), home / "study")
    write(series_of(study, **T1CE, SeriesNumber=9), home / "study" / "data" / "spool")

    beside, all_of_it = (_rows(_run(home, "rules", "test", one, "--json")) for one in (str(file), str(home / "study")))

    assert len({row["series_instance_uid"] for row in beside}) == 1
    assert next(row for row in beside if row["route"] == "brains")["is_taken"] is True
    assert len({row["series_instance_uid"] for row in all_of_it}) == 2


@pytest.mark.parametrize("path", ["node.toml", "/nothing", "nothing/at all.dcm"])
def test_what_is_no_dicom_file_is_wrong_usage(home: Path, path: str) -> None:
    ended = _run(home, "rules", "test", path)

    assert ended.returncode == 2
    assert "a DICOM file" in ended.stderr


def test_a_dry_run_compares_a_new_rule_with_what_was_made_and_makes_nothing(home: Path, house: House) -> None:
    before = len(house.events())

    rows = _rows(_run(home, "rules", "dry-run", "--since", "2020-01-01", "--json"))

    contrast = {str(row["route"]): row for row in rows if row["until now"] != "no job"}
    assert contrast["brains"]["is_taken"] is True
    assert contrast["brains"]["until now"] == f"job {house.jobs()[0].id} SCHEDULED"
    assert contrast["never"]["is_taken"] is False
    assert {row["until now"] for row in rows if "T2" in str(row["reason"])} == {"no job"}
    assert len(house.events()) == before


def test_nothing_came_since_tomorrow(home: Path, house: House) -> None:
    assert house.jobs()
    assert _rows(_run(home, "rules", "dry-run", "--since", "2100-01-01", "--json")) == []


def test_weights_are_listed_and_verified(home: Path) -> None:
    listed = _rows(_run(home, "weights", "list", "--json"))
    verified = _run(home, "weights", "verify", "--json")

    assert verified.returncode == 0
    assert len(listed) == 2
    for one, found in zip(listed, _rows(verified), strict=True):
        assert str(one["sha256"]) in str(found["found"])


@pytest.mark.parametrize("about", [["--accession", "A123"], ["--job", "1"]], ids=["order", "job"])
def test_the_evidence_of_an_order_or_a_job_is_whole_and_can_be_checked(
    home: Path, house: House, about: list[str]
) -> None:
    ended = _run(home, "audit", "evidence", *about, "--out", "bundle.zip")

    assert ended.returncode == 0, ended.stderr
    with ZipFile(home / "bundle.zip") as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    manifest = json.loads(members["manifest.json"])
    job = json.loads(members["jobs/1.json"])
    instances = list(csv.DictReader(io.StringIO(members["instances.csv"].decode())))
    contrast = {str(dataset.SOPInstanceUID) for dataset in house.sent[:20]}
    assert {name: hashlib.sha256(members[name]).hexdigest() for name in manifest["sha256"]} == manifest["sha256"]
    assert set(members) == {*manifest["sha256"], "manifest.json"}
    assert manifest["audit trail"]["is_whole"] is True
    assert {item["sop_instance_uid"] for item in job["inputs"]} == contrast
    sha256_of = {row["sop_instance_uid"]: row["sha256"] for row in instances}
    assert {uid: sha256_of[uid] for uid in contrast} == {i["sop_instance_uid"]: i["sha256"] for i in job["inputs"]}
    assert len(instances) == (40 if "--accession" in about else 20)
    assert {"instance received", "job scheduled"} <= {line["event"] for line in json.loads(members["audit.json"])}
    assert stat.S_IMODE((home / "bundle.zip").stat().st_mode) == 0o600


def test_who_takes_evidence_out_stands_in_the_trail_with_the_digest_of_the_bundle(home: Path, house: House) -> None:
    _run(home, "audit", "evidence", "--job", "1", "--out", "bundle.zip")

    (event,) = house.events("evidence exported")
    assert event.user
    assert event.details["sha256"] == hashlib.sha256((home / "bundle.zip").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--accession", "none"], 1, "nothing is known"),
        (["--job", "99"], 1, "no job 99"),
        ([], 2, "either --accession A or --job ID"),
    ],
    ids=["unknown order", "unknown job", "neither"],
)
def test_evidence_of_nothing_says_so(home: Path, house: House, words: list[str], status: int, said: str) -> None:
    assert house.jobs()

    ended = _run(home, "audit", "evidence", *words, "--out", "bundle.zip")

    assert (ended.returncode, (home / "bundle.zip").exists()) == (status, False)
    assert said in ended.stderr


def test_evidence_never_overwrites_a_file(home: Path, house: House) -> None:
    assert house.jobs()
    (home / "bundle.zip").write_bytes(b"mine")

    ended = _run(home, "audit", "evidence", "--job", "1", "--out", "bundle.zip")

    assert ended.returncode == 2
    assert (home / "bundle.zip").read_bytes() == b"mine"
