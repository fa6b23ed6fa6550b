"""The localizer as it is configured, with a model folder: loading, self-test, and what random weights end in."""

import pytest
from tiny_qwen import write_tiny_qwen

from vb_node.applications.virtual_biopsy.choice import SYNTHETIC, UNTESTED
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.localizer import Localizer
from vb_node.applications.virtual_biopsy.network import NetworkDetector
from vb_node.config import VirtualBiopsySettings, VlmSettings
from vb_node.errors import ConfigError
from vb_node.evaluation.benchmarks.small_head import SmallHead, small_head


@pytest.fixture(scope="module")
def head() -> SmallHead:
    return small_head(5)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> VlmSettings:
    folder = write_tiny_qwen(tmp_path_factory.mktemp("models") / "tiny")
    return VlmSettings(model=folder, image_px=128, max_new_tokens=16, stride=4)


def _silent(share: float) -> None:
    return


def test_without_a_model_the_network_runs_and_says_what_it_has_seen(head: SmallHead) -> None:
    prior, said = Localizer().localise(head.standard, VirtualBiopsySettings(), "cpu", _silent)

    assert prior.regions == localise(head.standard, NetworkDetector.load()).regions
    assert SYNTHETIC in prior.notes
    assert said == {}


def test_random_weights_are_refused_by_the_corner_test(head: SmallHead, settings: VlmSettings) -> None:
    with pytest.raises(ConfigError, match="did not box a bright square"):
        Localizer().localise(head.standard, VirtualBiopsySettings(vlm=settings), "cpu", _silent)


def test_random_weights_that_run_all_the_same_end_unreliable_and_flagged(
    head: SmallHead, settings: VlmSettings
) -> None:
    untested = VirtualBiopsySettings(vlm=settings.model_copy(update={"self_test": False}))
    shares: list[float] = []

    prior, said = Localizer().localise(head.standard, untested, "cpu", shares.append)

    assert prior.state == "unreliable"
    assert "could not be read" in prior.notes[0]
    assert prior.notes[-1] == UNTESTED
    assert said["vlm"]["unreadable"] == said["vlm"]["pictures"] == len(said["vlm"]["said"]) > 8
    assert shares == sorted(shares)


def test_a_model_stays_loaded_until_its_settings_or_files_change(settings: VlmSettings) -> None:
    localizer, untested = Localizer(), settings.model_copy(update={"self_test": False})

    first = localizer._model(untested, "cpu")

    assert localizer._model(untested, "auto") is first
    assert localizer._model(untested.model_copy(update={"batch": 2}), "cpu") is not first
