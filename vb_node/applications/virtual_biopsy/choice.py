"""Which slice detector runs, and what makes it what it is: asked when the node starts, and again before each case.

Neither torch nor network is needed for it.
"""

from pathlib import Path
from typing import Any

from vb_node.applications.virtual_biopsy.vlm import wording
from vb_node.config import VirtualBiopsySettings, VlmSettings
from vb_node.models.model_folder import digest, examine
from vb_node.models.pins import DIAGNOSER, LOCALIZER, digests, read_site_pin_of

# Where things lie in a hospital is no part of a report.
_PLACES = frozenset({"model", "url", "api_key_file", "ca_file"})
_FOLDERS = frozenset({"diagnoser_folder", "localizer_folder"})
SYNTHETIC = "The network that localised was trained on generated heads alone."
OF_THE_SITE = "The network that localised was trained on a site's own cases; no clinical performance is claimed."
UNTESTED = "The box format of the vision-language model was not tested before it was used (self_test = false)."
UNVERIFIED = "The weights of the vision-language model are behind a URL and could not be verified."


def choose(settings: VirtualBiopsySettings) -> str:
    """Name the detector that runs: "auto" is the vision-language model where one is configured, else "network"."""
    if settings.localizer != "auto":
        return settings.localizer
    return "vlm" if settings.vlm is not None else "network"


def identify(settings: VirtualBiopsySettings, folder: Path | None = None) -> dict[str, Any]:
    """Give all of the localizer that changes a result, in plain JSON: its settings, weights and prompts by digest.

    ``folder`` is where weights of a site's own lie, if some are named.

    Raises
    ------
    ConfigError
        The configured model cannot be loaded, or the configured weights were not imported.
    """
    localizer = choose(settings)
    if localizer == "network" and settings.localizer_weights is not None and folder is not None:
        pin = read_site_pin_of("localizer", folder)
        own = {"weights": {settings.localizer_weights: pin.sha256}, "localizer_folder": str(folder)}
        return {"localizer": localizer, "vlm": None, "prompts": {}, "is_localizer_synthetic": pin.is_synthetic} | own
    if localizer != "vlm" or settings.vlm is None:
        used = {LOCALIZER: digests()[LOCALIZER]} if localizer == "network" else {}
        return {"localizer": localizer, "vlm": None, "weights": used, "prompts": {}}
    weights: dict[str, str] = {}
    if settings.vlm.model is not None:
        examine(settings.vlm.model)
        weights = {settings.vlm.model.name: digest(settings.vlm.model)}
    told = settings.vlm.model_dump(mode="json")
    return {"localizer": localizer, "vlm": told, "weights": weights, "prompts": wording.digests()}


def identify_diagnoser(settings: VirtualBiopsySettings, folder: Path | None) -> dict[str, Any]:
    """Give the diagnoser's weights by digest; of a site's own also where they lie, and whether they saw patients.

    Raises
    ------
    ConfigError
        The configured weights were not imported.
    """
    if settings.diagnoser is None or folder is None:
        return {"weights": {DIAGNOSER: digests()[DIAGNOSER]}}
    pin = read_site_pin_of("diagnoser", folder)
    return {
        "weights": {settings.diagnoser: pin.sha256},
        "diagnoser_folder": str(folder),
        "is_trained_on_synthetic_data": pin.is_synthetic,
    }


def files(settings: VirtualBiopsySettings) -> tuple[Path, ...]:
    """Name the files and folders that the detector reads, links followed: caches keep the files elsewhere."""
    if choose(settings) != "vlm" or settings.vlm is None:
        return ()
    vlm = settings.vlm
    linked = [file.resolve() for file in vlm.model.iterdir()] if vlm.model is not None and vlm.model.is_dir() else []
    return tuple(path for path in (vlm.model, vlm.api_key_file, vlm.ca_file, *linked) if path is not None)


def without_places(plan: dict[str, Any]) -> dict[str, Any]:
    """Leave paths and addresses out of a plan."""
    plan = {name: value for name, value in plan.items() if name not in _FOLDERS}
    if not plan.get("vlm"):
        return plan
    return plan | {"vlm": {name: value for name, value in plan["vlm"].items() if name not in _PLACES}}


def caveats(settings: VlmSettings) -> tuple[str, ...]:
    """Say what a reader of the report should know of the model."""
    notes = ((UNTESTED, not settings.self_test), (UNVERIFIED, settings.url is not None))
    return tuple(text for text, is_so in notes if is_so)
