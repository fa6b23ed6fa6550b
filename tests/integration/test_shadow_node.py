"""A shadow route on a node that runs, with other settings than the live one: computed in a cell, compared, not sent."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from factories import write
from pages_house import studies
from processes import HOST, Node, free_port, storescp, wait_until

from storage import comparisons, drift

TOML = """\
[node]
ae_title = "VBNODE"
[receive]
port = {port}
[[receive.peers]]
ae_title = "SENDER"
[assemble]
quiet_s = 1
[[routes]]
name = "live"
destinations = ["pacs"]
[[routes]]
name = "trial"
shadow = true
[routes.virtual_biopsy]
localizer = "classical"
[[destinations]]
name = "pacs"
ae_title = "PACS"
port = {pacs}
[retention]
stop_at = 1
stop_free_gb = 0
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Give a node that has received a slab too thin for a head, by a live and a shadow route."""
    home = tmp_path_factory.mktemp("shadow")
    port, pacs = free_port(), free_port()
    made = Node(home, TOML.format(port=port, pacs=pacs), port)
    write(studies(), home / "study")
    command = [sys.executable, "-m", "vb_node", "send", str(home / "study"), "--to", f"VBNODE@{HOST}:{port}"]
    with storescp(home / "pacs", pacs):
        made.start()
        subprocess.run([*command, "--calling", "SENDER"], check=True, capture_output=True)
        wait_until(lambda: bool(made.events(event="shadow compared")), 120, "the shadow result is compared")
        wait_until(lambda: any(one.state == "sent" for one in made.deliveries()), 60, "the live report is sent")
        yield made
        made.stop()


def test_the_shadow_job_is_worked_on_after_the_live_one_with_its_own_settings(node: Node) -> None:
    live, trial = sorted(node.jobs(), key=lambda job: job.is_shadow)

    assert [(job.route, job.state, job.reason) for job in (live, trial)] == [
        ("live", "FAILED", "OutOfCoverage"),
        ("trial", "FAILED", "OutOfCoverage"),
    ]
    assert (live.plan["localizer"], trial.plan["localizer"]) == ("network", "classical")
    assert live.started_at <= trial.started_at


def test_it_is_laid_beside_the_live_one_and_nothing_of_it_is_sent(node: Node) -> None:
    live, trial = sorted(node.jobs(), key=lambda job: job.is_shadow)

    with node.database.read() as session:
        (pair,) = comparisons.listing(session)
    assert (pair.route, pair.comparison.shadow_job_id, pair.comparison.live_job_id) == ("trial", trial.id, live.id)
    assert pair.comparison.figures["differs"] == []
    assert pair.comparison.figures["shadow"]["result"] == "not analysed"
    assert {one.job_id for one in node.deliveries()} == {live.id}


def test_what_the_sender_calls_its_series_is_counted(node: Node) -> None:
    with node.database.read() as session:
        found = {(one.peer, one.description, one.route) for one in drift.descriptions(session)}

    assert ("SENDER", "AX T1 +C", "live") in found
    assert {route for _, description, route in found if description != "AX T1 +C"} == {None}
