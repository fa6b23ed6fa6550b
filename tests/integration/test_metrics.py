"""``/metrics`` on a real web station: what it counts, who may ask, and what dashboards and alerts build on it."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml
from listener_process import instance
from people import add_job
from processes import wait_until
from prometheus_client.parser import text_string_to_metric_families
from web_process import WebProcess

from storage import alerts, comparisons, deliveries, drift, jobs
from storage.alerts import Condition
from storage.deliveries import Told
from storage.schema import Drift

DESTINATION = '\n[[destinations]]\nname = "pacs"\nae_title = "PACS"\n'
DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    process = WebProcess(tmp_path_factory.mktemp("web"), DESTINATION).start()
    yield process
    process.stop()


def _samples(web: WebProcess) -> dict[tuple[str, str], float]:
    """Give the value of each metric by its name and its label values."""
    answer = httpx2.get(f"{web.url}/metrics")
    assert answer.status_code == 200, answer.text
    families = list(text_string_to_metric_families(answer.text))
    return {(one.name, " ".join(one.labels.values())): one.value for family in families for one in family.samples}


def test_what_came_is_counted_by_peer_and_what_was_refused_by_status(web: WebProcess) -> None:
    nameless = instance()
    del nameless.StudyInstanceUID

    assert web.post([instance(), instance()]).status_code == 200
    assert web.post([nameless]).status_code == 409

    refused = ("vbnode_instances_refused_total", "C004")
    wait_until(lambda: refused in _samples(web), 10, "the refusal is in the ledger")
    after = _samples(web)
    assert after[refused] == 1
    assert after["vbnode_instances_received_total", "ROUTER"] == 2
    assert after["vbnode_peer_last_arrival_timestamp_seconds", "ROUTER"] > 0
    assert after["vbnode_queue_length", "arrivals"] >= 1
    assert after["vbnode_disk_free_bytes", ""] > 0


def test_jobs_steps_and_deliveries_are_counted_and_a_stranger_is_other(web: WebProcess) -> None:
    _samples(web)

    job_id = add_job(web.database)
    with sqlite3.connect(web.home / "data" / "ledger.db") as ledger:
        ledger.execute("UPDATE deliveries SET destination = 'gone' WHERE job_id = ?", (job_id,))
    add_job(web.database)

    found = _samples(web)
    assert found["vbnode_instances_received_total", "other"] >= 2
    assert found["vbnode_jobs", "SCHEDULED"] == 2
    assert found["vbnode_deliveries", "other parked"] == 1
    assert found["vbnode_deliveries", "pacs parked"] == 1
    assert found["vbnode_deliveries", "pacs pending"] == 0


def test_a_delivery_that_is_done_is_counted_with_its_destination(web: WebProcess) -> None:
    job_id, now = add_job(web.database), time.time()
    before = _samples(web)["vbnode_deliveries", "pacs parked"]
    with web.database.write() as session:
        delivery = deliveries.find(session, job_id)
        assert delivery is not None
        deliveries.send_again(session, delivery, now=now, user="test")
        claimed = deliveries.claim(session, "pacs", lease_s=30, now=now + 1)
        assert claimed is not None
        deliveries.settle(session, claimed[1], Told("stored"), now=now + 2, patience_s=60)

    found = _samples(web)

    assert found["vbnode_deliveries_done_total", "pacs sent"] == 1
    assert found["vbnode_deliveries", "pacs parked"] == before - 1


def test_the_seconds_of_each_step_of_a_completed_job_are_told_and_no_other_shape_of_them(web: WebProcess) -> None:
    for seconds in ({"localise": 2.5, "odd": "soon"}, 12.3, None):
        add_job(web.database)
        with web.database.write() as session:
            claimed = jobs.claim(session, "test", lease_s=30, now=time.time())
            assert claimed is not None
            jobs.finish(session, claimed[1], "COMPLETED", [], now=time.time(), outcome={"seconds": seconds})

    found = _samples(web)

    assert found["vbnode_step_seconds_sum", "virtual_biopsy localise"] == 2.5
    assert found["vbnode_step_seconds_count", "virtual_biopsy localise"] == 1
    assert found["vbnode_jobs_ended_total", "COMPLETED"] == 3


def test_alerts_their_messages_shadow_pairs_and_drift_are_told(web: WebProcess) -> None:
    long_ago = time.time() - 1000
    pair = [add_job(web.database, route=route, is_shadow=route == "trial") for route in ("live", "trial")]
    figures = {"distance": 0.3, "p_value": 1e-6, "recent": 60, "reference": 400, "at": long_ago}
    with web.database.write() as session:
        alerts.settle(session, [Condition("job stuck", "job 1", "")], ["mail"], now=long_ago)
        live, trial = (jobs.get(session, job_id) for job_id in pair)
        comparisons.record(session, trial, live, {}, is_disagreement=True, now=long_ago)
        drift.replace(session, [Drift(route="virtual-biopsy", score="confidence", is_drift=True, **figures)])
        for day in range(110):
            name = "T1" if day < 105 else "T1 NEW"
            drift.describe(session, "ROUTER", name, None, now=time.time() + (day - 110) * 86400)

    found = _samples(web)

    assert (found["vbnode_alerts", "job stuck"], found["vbnode_alerts", "disk full"]) == (1, 0)
    assert found["vbnode_queue_length", "notices"] == 1
    assert found["vbnode_queue_oldest_seconds", "notices"] >= 1000
    assert found["vbnode_shadow_pairs", "no other"] == 1
    assert (
        found["vbnode_drift_distance", "virtual-biopsy confidence"],
        found["vbnode_drift", "virtual-biopsy confidence"],
    ) == (0.3, 1)
    assert found["vbnode_descriptions_changed", "new ROUTER"] == 1


def test_only_the_token_is_let_in_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of-prometheus-alone\n")
    web = WebProcess(tmp_path, f'metrics_token_file = "{tmp_path / "secret"}"').start()

    url = f"{web.url}/metrics"
    answers = [
        httpx2.get(url, headers={"Authorization": shown} if shown else {}).status_code
        for shown in ("", "Bearer of-prometheus", "Bearer of-prometheus-alone")
    ]
    web.stop()

    assert answers == [401, 401, 200]


@pytest.mark.parametrize("file", ["prometheus-rules.yaml", "grafana/vb-node.json"])
def test_every_metric_of_a_dashboard_or_alert_is_one_that_the_node_tells(web: WebProcess, file: str) -> None:
    answer = httpx2.get(f"{web.url}/metrics").text
    told = set(re.findall(r"^# TYPE (\w+)", answer, re.M))
    told |= {f"{name}_bucket" for name in re.findall(r"^# TYPE (\w+) histogram", answer, re.M)}

    named = set(re.findall(r"vbnode_\w+", (DEPLOY / file).read_text("utf-8")))

    assert len(named) > 5
    assert named <= told


def test_every_alert_has_an_expression_a_severity_and_words_and_is_explained() -> None:
    (group,) = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text("utf-8"))["groups"]
    explained = (DEPLOY.parent / "docs" / "operations.md").read_text("utf-8")

    for rule in group["rules"]:
        assert rule["expr"]
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert f"`{rule['alert']}`" in explained


def test_every_panel_of_the_dashboard_asks_for_something() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "vb-node.json").read_text("utf-8"))

    assert len(dashboard["panels"]) >= 10
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
