"""The command line, as a process: what it prints and how it ends."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from factories import affine, head, mr_series, write
from people import add_job
from processes import HOST, free_port, storescp
from pydicom import dcmread
from sqlalchemy import text

from storage import audit
from storage.database import Database

COMMANDS = ["demo", "init", "serve", "process", "send", "echo", "phantom", "conformance", "doctor"]
GROUPS = [
    ["jobs", "list"],
    ["jobs", "show"],
    ["jobs", "retry"],
    ["jobs", "cancel"],
    ["audit", "search"],
    ["audit", "verify"],
    ["audit", "evidence"],
    ["rules", "test"],
    ["rules", "dry-run"],
    ["weights", "list"],
    ["weights", "verify"],
    ["weights", "import"],
    ["weights", "remove"],
]


def _run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vb_node", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


TRAININGS = (["train", "diagnoser"], ["train", "localizer"], ["evaluate", "diagnoser"])
EVALUATIONS = tuple(["evaluate", what] for what in ("mca", "localizer", "pipeline", "cases"))


@pytest.mark.parametrize("command", [*([name] for name in COMMANDS), *GROUPS, *TRAININGS, *EVALUATIONS], ids=" ".join)
def test_every_command_shows_an_example(command: list[str]) -> None:
    shown = _run(*command, "--help")

    assert shown.returncode == 0
    assert "Example: vb-node" in " ".join(shown.stdout.split())


def test_help_loads_no_heavy_library() -> None:
    program = """
import sys
from vb_node.cli import run
sys.argv = ["vb-node", "--help"]
try:
    run()
except SystemExit:
    print(sorted({"torch", "numpy", "pydicom", "sqlalchemy", "SimpleITK", "monai"} & set(sys.modules)))
"""

    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert shown.stdout.splitlines()[-1] == "[]"


def test_init_writes_a_file_that_serve_would_read_and_never_overwrites(tmp_path: Path) -> None:
    first, second = _run("init", cwd=tmp_path), _run("init", cwd=tmp_path)

    assert (first.returncode, second.returncode) == (0, 2)
    assert "not overwritten" in second.stderr
    assert _run("jobs", "list", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--config", "none.toml"], "vb-node init"),
        (["echo", "nonsense"], "AET@HOST:PORT expected"),
        (["echo", "A@host:99999"], "AET@HOST:PORT expected"),
        (["send", "empty", "--to", "A@127.0.0.1:104"], "no DICOM file"),
        (["process", "empty", "--out", "x"], "holds none"),
        (["process", "empty", "--out", "x", "--application", "nothing"], "not installed"),
        (["process", "study", "--out", "study/a file"], "a folder for the results expected"),
        (["jobs", "list", "--state", "BOGUS"], "BOGUS"),
        (["serve", "--only", "nothing"], "nothing"),
        (["nonsense"], "nonsense"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_wrong_usage_ends_with_2_and_says_what_to_do(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    write(mr_series(head((4, 20, 24))), tmp_path / "study")
    (tmp_path / "study" / "a file").touch()

    ended = _run(*words, cwd=tmp_path)

    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("node", "status", "said"),
    [
        ('database = "garbage:secret"', 2, "sqlite:///FILE or postgresql+psycopg://"),
        ('database = "mysql://me:secret@host/ledger"', 2, "mysql"),
        (
            'database = "postgresql+psycopg://me:secret@127.0.0.1:1/ledger"',
            1,
            "me:***@127.0.0.1:1/ledger cannot be opened",
        ),
        ('database = "postgresql+psycopg://me:a@secret@host/ledger"', 2, "an @ in it as %40"),
        ('database = "postgresql+psycopg://host/ledger?user=me&password=secret"', 2, "an @ in it as %40"),
        ('database = "postgresql+psycopg://me:secret@host:secret/ledger"', 2, "no address came"),
        ('data = "node.toml"', 1, "cannot be opened"),
    ],
)
def test_a_ledger_that_cannot_be_opened_is_told_without_its_password(
    tmp_path: Path, node: str, status: int, said: str
) -> None:
    (tmp_path / "node.toml").write_text(f"[node]\n{node}")

    ended, examined = _run("jobs", "list", cwd=tmp_path), _run("doctor", "--json", cwd=tmp_path)

    assert (ended.returncode, examined.returncode) == (status, 1)
    assert said in ended.stderr
    assert [row["state"] for row in json.loads(examined.stdout) if row["about"] == "ledger"] == ["wrong"]
    for output in (ended.stderr, examined.stdout, examined.stderr):
        assert "secret" not in output
        assert "Traceback" not in output


def test_a_folder_that_cannot_be_written_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()

    ended = _run("phantom", "--out", "a file/phantoms", "--as", "nifti", cwd=tmp_path)

    assert ended.returncode == 1
    assert "a folder that may be written" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_job_that_is_not_there_ends_with_1(tmp_path: Path) -> None:
    _run("init", cwd=tmp_path)

    ended = _run("jobs", "show", "7", cwd=tmp_path)

    assert ended.returncode == 1
    assert "no job 7" in ended.stderr


def test_send_and_echo_reach_dcmtk(tmp_path: Path) -> None:
    write(mr_series(head((4, 20, 24))), tmp_path / "study")
    port = free_port()
    with storescp(tmp_path / "pacs", port) as pacs:
        echo = _run("echo", f"PACS@{HOST}:{port}")
        send = _run("send", str(tmp_path / "study"), "--to", f"PACS@{HOST}:{port}", "--associations", "2")

        assert (echo.returncode, send.returncode) == (0, 0)
        assert len(list(pacs.iterdir())) == 4


def test_send_to_nobody_ends_with_1(tmp_path: Path) -> None:
    write(mr_series(head((4, 20, 24))), tmp_path / "study")

    ended = _run("send", str(tmp_path / "study"), "--to", f"PACS@{HOST}:{free_port()}")

    assert ended.returncode == 1
    assert "no answer" in ended.stdout


def test_process_of_what_is_no_brain_ends_with_3_and_a_report_that_says_so(tmp_path: Path) -> None:
    write(mr_series(head((20, 40, 40)), affine((5.0, 2.0, 2.0))), tmp_path / "study")

    ended = _run("process", str(tmp_path / "study"), "--out", str(tmp_path / "out"))

    assert ended.returncode == 3, ended.stderr
    report, page = sorted((tmp_path / "out").glob("*.dcm"))
    assert "no brain" in str(dcmread(report)).lower()
    assert dcmread(page).Modality == "OT"
    assert "no brain" in json.loads((tmp_path / "out" / "result.json").read_text())["summary"]["sentence"]


def test_process_writes_what_the_viewers_of_a_profile_show(tmp_path: Path) -> None:
    write(mr_series(head((20, 40, 40)), affine((3.0, 2.0, 2.0))), tmp_path / "study")

    _run("process", str(tmp_path / "study"), "--out", str(tmp_path / "out"), "--viewer-profile", "pdf")

    assert [path.name for path in sorted((tmp_path / "out").glob("*.dcm"))] == ["0-sr.dcm", "1-pdf.dcm"]


def test_process_into_the_same_folder_writes_the_same_bytes(tmp_path: Path) -> None:
    write(mr_series(head((20, 40, 40)), affine((3.0, 2.0, 2.0))), tmp_path / "study")
    words = ["process", str(tmp_path / "study"), "--out", str(tmp_path / "out")]

    _run(*words)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.dcm")}
    time.sleep(1.1)
    _run(*words)

    assert before
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.dcm")} == before


def test_where_no_series_is_taken_no_results_of_another_run_are_left(tmp_path: Path) -> None:
    write(mr_series(head((20, 40, 40)), affine((3.0, 2.0, 2.0))), tmp_path / "study")
    write([*mr_series(head((4, 20, 24))), *mr_series(head((4, 20, 24)))], tmp_path / "localizers")

    before = _run("process", str(tmp_path / "study"), "--out", str(tmp_path / "out"))
    ended = _run("process", str(tmp_path / "localizers"), "--out", str(tmp_path / "out"))

    assert (before.returncode, ended.returncode) == (3, 1)
    assert "nothing was written" in ended.stdout
    assert not list((tmp_path / "out").iterdir())


def test_process_into_the_folder_of_its_images_leaves_them_there(tmp_path: Path) -> None:
    for rank, one in enumerate(mr_series(head((4, 20, 24)))):
        one.save_as(tmp_path / f"{rank}-001.dcm", enforce_file_format=True)
    images = {path: path.read_bytes() for path in tmp_path.iterdir()}

    for _ in range(2):
        _run("process", str(tmp_path), "--out", str(tmp_path))

    assert {path: path.read_bytes() for path in images} == images


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_an_empty_audit_trail_is_printed_in_each_form(tmp_path: Path, form: str) -> None:
    _run("init", cwd=tmp_path)

    ended = _run("audit", "search", "--format", form, cwd=tmp_path)

    assert ended.returncode == 0
    if form == "json":
        assert json.loads(ended.stdout) == []


def test_l_09_an_edited_audit_trail_is_told_with_status_1(tmp_path: Path) -> None:
    _run("init", cwd=tmp_path)
    database = Database(f"sqlite:///{tmp_path / 'data' / 'ledger.db'}")
    database.upgrade()
    with database.write() as session:
        audit.record(session, "a", now=1.0, actor="test")

    whole = _run("audit", "verify", cwd=tmp_path)
    with database.write() as session:
        session.execute(text("UPDATE events SET actor = 'nobody'"))
    edited = _run("audit", "verify", cwd=tmp_path)

    database.close()
    assert (whole.returncode, edited.returncode) == (0, 1), whole.stderr
    assert whole.stdout.startswith("1 lines, none changed")
    assert "line 1 of the audit trail was changed" in edited.stderr


def test_each_command_about_jobs_answers_a_program_too(tmp_path: Path) -> None:
    _run("init", cwd=tmp_path)
    database = Database(f"sqlite:///{tmp_path / 'data' / 'ledger.db'}")
    database.upgrade()
    job_id = add_job(database)
    database.close()

    told = [
        json.loads(_run("jobs", *words, "--json", cwd=tmp_path).stdout)
        for words in (["list"], ["cancel", str(job_id)], ["retry", str(job_id)], ["show", str(job_id)])
    ]

    assert [one["id"] for one in (told[0][0], *told[1:])] == [job_id] * 4
    assert [one["state"] for one in (told[0][0], *told[1:])] == ["SCHEDULED", "CANCELED", "SCHEDULED", "SCHEDULED"]
