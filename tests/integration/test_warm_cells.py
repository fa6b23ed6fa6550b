"""A cell loads what its routes' cases need before the first of them comes."""

from pathlib import Path

import pytest
from cells import Laboratory, saboteur_installed
from processes import TOML, Node, free_port, wait_until

from vb_node.applications.virtual_biopsy import diagnose, network
from vb_node.config import Settings
from vb_node.models.pins import DIAGNOSER, LOCALIZER
from vb_node.pipeline.application import installed

PLAN = {"act": "nothing", "at": None}


def test_what_the_plans_need_is_loaded_before_the_first_case(tmp_path: Path) -> None:
    with saboteur_installed():
        laboratory = Laboratory(tmp_path, plans=[("saboteur", PLAN), ("not installed", {})], device="cpu")

        answer = laboratory.answer("show what was warmed")
        laboratory.cell.end()

    assert answer == [[PLAN, "cpu"]]


def test_an_application_that_cannot_be_warmed_still_has_its_cases(tmp_path: Path) -> None:
    with saboteur_installed():
        laboratory = Laboratory(tmp_path, plans=[("saboteur", {"act": "fail to warm"}), ("saboteur", PLAN)])

        answer = laboratory.answer("show what was warmed")
        laboratory.cell.end()

    assert [plan for plan, _ in answer] == [PLAN]


def test_the_virtual_biopsy_opens_its_weights_when_warmed_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    for module in (diagnose, network):
        real = module.open_weights
        monkeypatch.setattr(
            module, "open_weights", lambda name, *where, real=real: opened.append(name) or real(name, *where)
        )
    application = type(installed()["virtual_biopsy"])()
    plan = application.plan(Settings())

    application.warm(plan, "cpu")
    once = list(opened)
    application.warm(plan, "cpu")

    assert sorted(once) == sorted(opened) == sorted([DIAGNOSER, LOCALIZER])


def test_a_node_is_warm_before_its_first_case(tmp_path: Path) -> None:
    port = free_port()
    toml = TOML.format(port=port, pacs_port=free_port(), quiet_s=1).replace("warm = false\n", "")
    node = Node(tmp_path, toml, port)

    node.start()
    try:
        wait_until(lambda: "application warm" in (tmp_path / "node.log").read_text(), 120, "the application is warm")
    finally:
        node.stop()
