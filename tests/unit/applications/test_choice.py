"""Which detector runs, what a plan says of it, and what stops the start."""

import json
from pathlib import Path

import pytest
from tiny_qwen import write_tiny_qwen

from vb_node import config
from vb_node.applications.virtual_biopsy import application
from vb_node.applications.virtual_biopsy.application import _settings
from vb_node.applications.virtual_biopsy.choice import caveats, choose, without_places
from vb_node.applications.virtual_biopsy.vlm import wording
from vb_node.config import Settings, VirtualBiopsySettings, VlmSettings
from vb_node.errors import ConfigError
from vb_node.models.pins import LOCALIZER, digests

URL = VlmSettings(url="http://gpu:8000/v1", served_model="Qwen/Qwen3-VL-8B-Instruct")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen(tmp_path_factory.mktemp("models") / "tiny-qwen")


def _plan(**values: object) -> dict[str, object]:
    return application.plan(Settings(virtual_biopsy=VirtualBiopsySettings(**values)))


def test_auto_takes_the_model_where_one_is_configured() -> None:
    assert choose(VirtualBiopsySettings()) == "network"
    assert choose(VirtualBiopsySettings(vlm=URL)) == "vlm"
    assert choose(VirtualBiopsySettings(localizer="classical", vlm=URL)) == "classical"


def test_a_plan_names_the_model_by_digest_and_every_prompt(folder: Path) -> None:
    plan = _plan(vlm={"model": folder})

    assert plan["localizer"] == "vlm"
    assert len(plan["weights"]["tiny-qwen"]) == 64
    assert set(plan["prompts"]) == {"slice-1", "detail-1", "corner-1"}
    assert plan["prompts"] == wording.digests()


@pytest.mark.parametrize("values", [{}, {"vlm": URL}], ids=["network", "endpoint"])
def test_a_plan_survives_the_ledger(values: dict[str, object]) -> None:
    plan = _plan(**values)

    assert json.loads(json.dumps(plan)) == plan
    assert application.plan(Settings(virtual_biopsy=_settings(plan))) == plan


def test_a_plan_names_the_network_by_digest_where_it_is_used() -> None:
    assert _plan(localizer="network")["weights"][LOCALIZER] == digests()[LOCALIZER]
    assert LOCALIZER not in _plan(localizer="classical")["weights"]


def test_a_plan_without_the_model_does_not_change_with_it() -> None:
    assert _plan(localizer="network", vlm=URL) == _plan()


@pytest.mark.parametrize(
    "change",
    [{"weights": {}}, {"localizer": "vlm"}, {"prompts": {"slice-1": "0" * 64}}, {"localizer": "tarot"}],
    ids=["weights", "no model", "prompt", "unknown"],
)
def test_a_plan_that_would_be_another_today_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="others than when the job was scheduled"):
        _settings(_plan() | change)


def test_a_plan_of_before_there_was_a_setting_is_still_worked_on() -> None:
    plan = _plan()
    before = {name: value for name, value in plan.items() if name != "localizer_weights"}

    assert before != plan
    assert _settings(before) == _settings(plan)


def test_k_04_a_model_that_changed_after_the_plan_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_qwen(tmp_path / "tiny")
    plan = _plan(vlm={"model": folder})
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))

    with pytest.raises(ConfigError, match="others than when the job was scheduled"):
        _settings(plan)


def test_a_model_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text('[virtual_biopsy.vlm]\nmodel = "nothing"')

    with pytest.raises(ConfigError, match="download one and give its path"):
        application.plan(config.load(tmp_path / "node.toml"))


def test_a_report_says_no_paths_and_addresses(folder: Path) -> None:
    told = json.dumps([without_places(_plan(vlm={"model": folder})), without_places(_plan(vlm=URL))])

    assert str(folder.parent) not in told
    assert "gpu:8000" not in told
    assert "Qwen/Qwen3-VL-8B-Instruct" in told


def test_a_report_says_what_was_not_tested_or_verified(folder: Path) -> None:
    assert caveats(VlmSettings(model=folder)) == ()
    assert "not tested" in caveats(VlmSettings(model=folder, self_test=False))[0]
    assert "could not be verified" in caveats(URL)[0]


def test_a_prompt_is_filled_whole_or_not_at_all() -> None:
    for name in (wording.SLICE, wording.DETAIL, wording.CORNER):
        prompt = wording.prompt(name)

        assert "JSON only" in prompt.system
        assert prompt.user.get_identifiers()
