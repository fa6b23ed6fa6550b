"""What a training may choose of Adaptive-Diagnoser's network; weights name their own choice."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from vb_node.models.backbones import Backbone
from vb_node.models.mca import TumorPool


@dataclass(frozen=True)
class Architecture:
    """The backbone, and over what Masked Channel Attention pools the map that it has gated.

    ``tumor_pool`` is "masked", over the lesion, or "global", as Fig. 4 of the paper draws it.
    """

    backbone: Backbone = "resnet"
    tumor_pool: TumorPool = "masked"

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Self:
        """Read what weights name; those of before there was a choice have the usual one."""
        return cls(**{field.name: metadata[field.name] for field in fields(cls) if field.name in metadata})

    def told(self) -> dict[str, Any]:
        """Name the choice for a weights file."""
        return asdict(self)

    @property
    def words(self) -> str:
        """What a command says of it: nothing of the usual one."""
        usual = Architecture().told()
        return "".join(f" --{name.replace('_', '-')} {one}" for name, one in self.told().items() if one != usual[name])
