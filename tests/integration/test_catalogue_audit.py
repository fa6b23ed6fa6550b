"""A-Q1 to A-Q14 of SECURITY.md 2.4: each question is answered from the ledger of a node that has done its work."""

import csv
import hashlib
import io
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from audited import Audited
from cells import saboteur_installed
from plugins.saboteur import WEIGHTS

from storage import audit
from storage.questions import QUESTIONS
from vb_node.errors import ConfigError

ORDER = {"accession_number": "A123"}
DAY_S = 86400.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    with saboteur_installed():
        made = Audited(tmp_path_factory.mktemp("audited"))
        yield made
        made.database.close()


def test_a_q1_which_images_of_an_order_came_when_from_which_ae_and_host(house: Audited) -> None:
    given = house.ask(1, **ORDER)

    assert len(given.rows) == 7
    assert {str(one.SOPInstanceUID) for one in house.images} < {row["sop_instance_uid"] for row in given.rows}
    assert {(row["peer"], row["host"]) for row in given.rows} == {("PACS", "127.0.0.1")}
    assert all(row["received_at"].endswith("+00:00") for row in given.rows)
    assert "certificate is not recorded" in given.question.unknown


def test_a_q2_which_were_refused_with_what_status_and_why(house: Audited) -> None:
    (row,) = house.ask(2, peer="PACS").rows

    assert (row["event"], row["sop_instance_uid"], row["status"]) == ("instance refused", house.refused, "A903")
    assert "Pixel Data of" in row["why"]


def test_a_q3_which_objects_were_made_of_a_study(house: Audited) -> None:
    rows = house.ask(3, study_instance_uid=house.study).rows

    made = [result for job in house.jobs() for result in job.results]
    assert [(row["job_id"], row["sop_instance_uid"]) for row in rows] == [(r.job_id, r.sop_instance_uid) for r in made]
    assert {row["role"] for row in rows} == {"COPY"}
    for row, result in zip(rows, made, strict=True):
        content = (house.node.data / "results" / result.path).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_q4_from_exactly_which_instances_by_uid_and_digest(house: Audited) -> None:
    rows = house.ask(4, job_id=1).rows

    assert {row["sop_instance_uid"] for row in rows} == {str(one.SOPInstanceUID) for one in house.images}
    came = {row["sop_instance_uid"]: row["sha256"] for row in house.ask(1, **ORDER).rows}
    assert {row["sop_instance_uid"]: row["sha256"] for row in rows}.items() <= came.items()


def test_a_q5_with_which_version_weights_and_settings_and_what_is_not_recorded(house: Audited) -> None:
    given = house.ask(5, **ORDER)

    first, _ = given.rows
    assert (first["application"], first["version"], first["weights"]) == ("saboteur", "1", WEIGHTS)
    assert first["plan"] == {"act": "nothing", "at": None, "weights": WEIGHTS}
    assert first["key"] == house.jobs()[0].key
    assert {"GPU", "driver", "CUDA", "container"} <= set(given.question.unknown.replace(",", "").split())


def test_a_q6_where_it_was_sent_each_attempt_and_when_accepted(house: Audited) -> None:
    rows = house.ask(6, job_id=1).rows

    assert [(row["event"], row["destination"]) for row in rows] == [
        ("delivery begun", "folder"),
        ("delivery sent", "folder"),
    ]
    assert rows[0]["at"] <= rows[1]["at"]


def test_a_q7_which_results_came_from_a_version_between_two_dates(house: Audited) -> None:
    now = time.time()

    today = house.ask(7, version="1", since=now - DAY_S, until=now + DAY_S).rows
    others = house.ask(7, version="2").rows, house.ask(7, version="1", until=now - DAY_S).rows

    assert [row["job_id"] for row in today] == [1, 2]
    assert {(row["accession_number"], row["patient_id"]) for row in today} == {("A123", "P1")}
    assert others == ([], [])


@pytest.mark.parametrize("model", [*WEIGHTS, *WEIGHTS.values()], ids=["name", "digest"])
def test_a_q7_which_results_came_from_a_model_between_two_dates(house: Audited, model: str) -> None:
    since = {"since": time.time() - DAY_S}

    ever, earlier = house.ask(7, model=model, **since).rows, house.ask(7, model=model, until=since["since"]).rows

    assert [row["job_id"] for row in ever] == [1, 2]
    assert earlier == house.ask(7, model="anvil").rows == []


@pytest.mark.parametrize("model", [*WEIGHTS, *WEIGHTS.values()], ids=["name", "digest"])
def test_the_trail_is_searched_by_model_on_the_command_line(house: Audited, model: str) -> None:
    ended = house.run("audit", "search", "--model", model, "--format", "json")
    asked = house.run("audit", "ask", "7", "--model", model, "--format", "json")

    lines = json.loads(ended.stdout)
    assert {line["job_id"] for line in lines} == {1, 2}
    assert [line["details"]["weights"] for line in lines if line["event"] == "job claimed"] == [WEIGHTS] * 2
    assert {row["job_id"] for row in json.loads(asked.stdout)} == {1, 2}


def test_a_q8_which_had_fewer_images_than_came_and_which_superseded_which(house: Audited) -> None:
    first, second = house.ask(8, **ORDER).rows

    assert (first["images_used"], first["images_now"], first["superseded_by"]) == (4, 5, 2)
    assert (second["images_used"], second["images_now"], second["supersedes"]) == (5, 5, 1)


def test_a_q9_which_series_got_no_result_and_why(house: Audited) -> None:
    (row,) = house.ask(9, **ORDER).rows

    assert row["series_instance_uid"] == str(house.left[0].SeriesInstanceUID)
    assert row["stated"] == "not selected: the route's rule does not match"


def test_a_q10_how_long_it_took_by_day(house: Audited) -> None:
    (row,) = house.ask(10).rows

    assert row["day"] in {time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (time.time() - DAY_S / 24, time.time())}
    assert row["jobs"] == 2
    assert 0 < row["done_p50_s"] <= row["done_p95_s"] <= row["done_p100_s"] <= row["sent_p100_s"]


def test_a_q11_who_did_what_and_asking_is_an_event_too(house: Audited) -> None:
    house.ask(3, **ORDER)

    rows = house.ask(11, user="auditor").rows

    asked = {"question": 3, "about": ORDER}
    assert {"query": asked} in [row["details"] for row in rows if row["event"] == "audit log used"]


@pytest.mark.parametrize("about", [{}, ORDER, {"job_id": 1}], ids=["all", "order", "job"])
def test_a_q12_whether_a_line_was_changed(house: Audited, about: dict[str, object]) -> None:
    (whole,) = house.ask(12, **about).rows

    with _edited(house, "UPDATE events SET actor = 'nobody' WHERE event = 'job claimed'"):
        (broken,) = house.ask(12, **about).rows

    assert whole["is_whole"] is True
    assert whole["lines"] > 5
    assert broken["is_whole"] is False
    assert "was changed after it was written" in broken["why"]


def test_a_q12_a_line_that_was_taken_out_shows_beside_it(house: Audited) -> None:
    with _edited(house, "DELETE FROM events WHERE event = 'job claimed' AND job_id = 1"):
        (broken,) = house.ask(12, job_id=1).rows

    assert "some were taken out or put in" in broken["why"]


def test_a_q13_a_job_run_again_gives_the_same_bytes(house: Audited) -> None:
    (before,) = house.ask(13, job_id=1).rows

    ended = house.run("audit", "rerun", "1", "--json")

    (row,) = json.loads(ended.stdout)
    (after,) = house.ask(13, job_id=1).rows
    assert ended.returncode == 0, ended.stderr
    assert (before["again_at"], before["is_same"]) == (None, None)
    assert row["again_sha256"] == row["sha256"] == after["again_sha256"] == before["sha256"]
    assert (after["is_same"], after["again_at"] is not None) == (True, True)


def test_a_q13_other_bytes_are_told_and_end_with_1(house: Audited) -> None:
    with _edited(house, f"UPDATE results SET sha256 = '{'0' * 64}' WHERE job_id = 2"):
        ended = house.run("audit", "rerun", "2", "--json")

    assert ended.returncode == 1
    assert json.loads(ended.stdout)[0]["is_same"] is False


def test_a_q14_what_is_held_of_a_patient_and_when_it_goes(house: Audited) -> None:
    rows = {row["what"]: row for row in house.ask(14, patient_id="P1").rows}

    images, results = rows["files of images"], rows["files of results"]
    assert (images["count"], images["let_go"], results["count"]) == (7, 0, 2)
    assert images["size_bytes"] == sum(row["size_bytes"] for row in house.ask(1, **ORDER).rows)
    assert images["due_at"][:10] == time.strftime("%Y-%m-%d", time.gmtime(time.time() + 30 * DAY_S))
    assert rows["lines of the audit trail"]["count"] > 10


@pytest.mark.parametrize("number", QUESTIONS)
def test_each_question_keeps_to_what_it_is_asked_about(house: Audited, number: int) -> None:
    """A word that no row has finds none: it is not left out of the query."""
    nothing = {"since": 4e9, "until": 1.0, "job_id": 99}

    for name in QUESTIONS[number].by:
        about = {"version": "1"} if number == 7 and name != "version" else {}
        rows = house.ask(number, **about, **{name: nothing.get(name, "none such")}).rows
        assert [row for row in rows if row.get("count") != 0 and row.get("lines") != 0] == [], name


def test_a_question_says_by_what_it_is_asked(house: Audited) -> None:
    with pytest.raises(ConfigError, match="at least one of accession_number"):
        house.ask(3)
    with pytest.raises(ConfigError, match="question 14 is asked by patient_id; accession_number came"):
        house.ask(14, **ORDER)


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_an_answer_comes_as_table_json_or_csv(house: Audited, form: str) -> None:
    ended = house.run("audit", "ask", "3", "--accession", "A123", "--format", form)

    assert ended.returncode == 0, ended.stderr
    if form == "json":
        assert len(json.loads(ended.stdout)) == 2
    elif form == "csv":
        assert len(list(csv.DictReader(io.StringIO(ended.stdout)))) == 2
    else:
        assert "Which result objects were made" in ended.stdout


def test_the_questions_are_listed_and_who_asks_stands_in_the_trail(house: Audited) -> None:
    ended = house.run("audit", "ask", "--format", "json")

    assert [row["number"] for row in json.loads(ended.stdout)] == list(range(1, 15))
    with house.database.read() as session:
        asked = audit.search(session, since=None, until=None, limit=1000, event="audit log used")
    assert {event.user for event in asked} >= {"auditor"}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [(["15"], 1, "from 1 to 14"), (["3"], 2, "at least one of"), (["3", "--user", "a"], 2, "user came")],
    ids=["no such", "nothing named", "another word"],
)
def test_a_question_that_is_none_is_told(house: Audited, words: list[str], status: int, said: str) -> None:
    ended = house.run("audit", "ask", *words)

    assert ended.returncode == status
    assert said in ended.stderr


@contextmanager
def _edited(house: Audited, statement: str) -> Iterator[None]:
    """Edit the ledger behind the node's back for a block, and put everything back."""
    file = str(house.database.url.database)
    with closing(sqlite3.connect(file)) as ledger, closing(sqlite3.connect(":memory:")) as kept:
        ledger.backup(kept)
        with ledger:
            assert ledger.execute(statement).rowcount > 0
        try:
            yield
        finally:
            kept.backup(ledger)
