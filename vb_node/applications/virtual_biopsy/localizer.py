"""Tumor-Localizer as it is configured: the detector that was chosen, and its model kept loaded from case to case."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vb_node.applications.virtual_biopsy.choice import OF_THE_SITE, SYNTHETIC, caveats, choose
from vb_node.applications.virtual_biopsy.classical import ClassicalDetector
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.network import NetworkDetector
from vb_node.applications.virtual_biopsy.vlm.corner import check_corners
from vb_node.applications.virtual_biopsy.vlm.detector import VlmDetector
from vb_node.applications.virtual_biopsy.vlm.endpoint import Endpoint
from vb_node.applications.virtual_biopsy.vlm.formats import FORMATS, BoxFormat
from vb_node.config import VirtualBiopsySettings, VlmSettings
from vb_node.dicomweb.service import Service, trust
from vb_node.errors import ConfigError
from vb_node.models.device import choose as device_of
from vb_node.models.model_folder import digest, examine
from vb_node.models.pins import read_site_pin
from vb_node.models.vision_language import VisionLanguageModel
from vb_node.types import Prior, StandardVolume

API_KEY = "VB_NODE_VLM_API_KEY"


class Localizer:
    """The detectors of one process; a model that was loaded and tested stays loaded for the same settings."""

    def __init__(self) -> None:
        self._loaded: tuple[tuple[VlmSettings, str, str], VisionLanguageModel] | None = None
        self._networks: dict[tuple[str, str | None], NetworkDetector] = {}

    def load(self, settings: VirtualBiopsySettings, device: str, weights: Path | None = None) -> None:
        """Load, and test, the model of the detector that is chosen; raise as ``localise`` does."""
        chosen = choose(settings)
        if chosen == "network":
            self._network(device, weights).rehearse()
        elif chosen == "vlm" and settings.vlm is not None:
            self._model(settings.vlm, device)

    def localise(
        self,
        standard: StandardVolume,
        settings: VirtualBiopsySettings,
        device: str,
        progress: Callable[[float], None],
        weights: Path | None = None,
    ) -> tuple[Prior, dict[str, Any]]:
        """Give the prior, and for the job's summary what a vision-language model said.

        ``weights`` is the folder of a site's own for ``network``; without it those that are shipped.

        Raises
        ------
        ConfigError
            The model cannot be loaded, fails its self-test, or the endpoint refuses.
        Later
            There is no memory for it now, or the endpoint does not answer.
        """
        chosen = choose(settings)
        if chosen == "network":
            network = self._network(device, weights)
            return _noted(localise(standard, network), SYNTHETIC if network.is_synthetic else OF_THE_SITE), {}
        if chosen != "vlm" or settings.vlm is None:
            return localise(standard, ClassicalDetector()), {}
        model = self._model(settings.vlm, device)
        detector = VlmDetector(model, box_format(settings.vlm), settings.vlm, progress)
        prior = localise(standard, detector)
        return _noted(prior, *caveats(settings.vlm)), {"vlm": detector.transcript.summary()}

    def _network(self, device: str, weights: Path | None = None) -> NetworkDetector:
        device = device_of(device)
        key = device, None if weights is None else read_site_pin(weights).sha256
        if key not in self._networks:
            self._networks[key] = NetworkDetector.load(device, weights)
        return self._networks[key]

    def _model(self, settings: VlmSettings, device: str) -> VisionLanguageModel:
        device = device_of(device)
        key = settings, device, digest(settings.model) if settings.model else ""
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # two models at once may not fit
            model = _open_folder(settings.model, settings, device) if settings.model else open_endpoint(settings)
            if settings.self_test:
                check_corners(model, box_format(settings))
            self._loaded = key, model
        return self._loaded[1]


def _noted(prior: Prior, *notes: str) -> Prior:
    return replace(prior, notes=(*prior.notes, *notes))


def box_format(settings: VlmSettings) -> BoxFormat:
    """Give the box format: that which is configured, else that of the model's family; Qwen3-VL's behind a URL."""
    if settings.box_format != "auto":
        return FORMATS[settings.box_format]
    return FORMATS[examine(settings.model).family.box_format if settings.model else "xyxy_1000"]


def open_endpoint(settings: VlmSettings) -> Endpoint:
    """Make ready to ask a model behind a URL; nothing is sent yet."""
    key = _api_key(settings)
    service = Service(
        str(settings.url),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        tls=trust(settings.ca_file),
        answer_s=settings.timeout_s,
    )
    return Endpoint(
        service,
        str(settings.served_model),
        box_format(settings),
        settings.batch,
        settings.max_new_tokens,
        longest_s=2 * settings.timeout_s,
    )


def _api_key(settings: VlmSettings) -> str:
    if settings.api_key_file is None:
        return os.environ.get(API_KEY, "")
    try:
        return settings.api_key_file.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"[virtual_biopsy.vlm] api_key_file {settings.api_key_file} cannot be read: {error.strerror}"
        ) from error


def _open_folder(folder: Path, settings: VlmSettings, device: str) -> VisionLanguageModel:
    from vb_node.models.qwen_vl import QwenVL, Running  # late: transformers

    running = Running(device, settings.dtype, settings.batch, settings.image_px, settings.max_new_tokens)
    return QwenVL.load(examine(folder), running)
