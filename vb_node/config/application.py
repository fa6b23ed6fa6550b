"""The tables of the Virtual Biopsy application."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vb_node.config.section import Name, Section, Url


class VlmSettings(Section):
    """A vision-language model in a local folder (``model``), or behind the ``url`` of an OpenAI-compatible service."""

    model: Path | None = None
    url: Url | None = None
    served_model: str | None = None
    api_key_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    box_format: Literal["auto", "xyxy_1000", "xyxy_pixels", "yxyx_1000"] = "auto"
    self_test: bool = True
    image_px: Annotated[int, Field(ge=64, le=2048)] = 768
    stride: Annotated[int, Field(ge=1, le=8)] = 2
    zoom: bool = True
    batch: Annotated[int, Field(ge=1, le=256)] = 8
    max_new_tokens: Annotated[int, Field(ge=16, le=4096)] = 128
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.model is None) == (self.url is None):
            raise ValueError("give either model, a local folder, or url, a service")
        if self.url is not None and self.served_model is None:
            raise ValueError("url needs served_model, the name under which the service has the model")
        return self


class VirtualBiopsySettings(Section):
    """The Virtual Biopsy application; what these change is part of a job's identity."""

    localizer: Literal["auto", "classical", "network", "vlm"] = "auto"
    vlm: VlmSettings | None = None
    localizer_weights: Name | None = None
    diagnoser: Name | None = None
    contrast_when: str = ""
    must_have_contrast: bool = True
    probability_bands: bool = True
    parametric_map_mb: Annotated[float, Field(ge=0)] = 80.0

    @model_validator(mode="after")
    def _has_its_model(self) -> Self:
        if self.localizer == "vlm" and self.vlm is None:
            raise ValueError("localizer = 'vlm' needs [virtual_biopsy.vlm] with model or url")
        is_network = self.localizer == "network" or (self.localizer == "auto" and self.vlm is None)
        if self.localizer_weights is not None and not is_network:
            raise ValueError("localizer_weights are of localizer = 'network': choose that, or leave them out")
        return self

    @property
    def named(self) -> dict[str, str]:
        """Give the weights of a site's own that are named, by the network that they are of."""
        names = {"diagnoser": self.diagnoser, "localizer": self.localizer_weights}
        return {network: name for network, name in names.items() if name is not None}
