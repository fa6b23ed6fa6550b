"""The 3-D backbones that Adaptive-Diagnoser may stand on, each cut behind its feature maps at strides 4 and 8.

At stride 16 a cell is 32 mm wide and shows no small lesion. ``resnet`` is that of the shipped weights; the others are
for trainings of a site's own (``vb-node train diagnoser --backbone``).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import nn

from vb_node.models import convnext
from vb_node.models.nets import DenseNet121, ResNet

Backbone = Literal["resnet", "densenet121", "convnext"]
RESNET_WIDTHS, DENSENET121_CHANNELS = (8, 16, 32), (128, 256)
# Of few samples a batch a batch norm would know little.
_NORM = ("group", {"num_groups": 4})


class Stages(NamedTuple):
    """A stem, and the stages that end at strides 4 and 8 with so many channels."""

    stem: nn.Module
    fine: nn.Module
    coarse: nn.Module
    channels: tuple[int, int]


def build(name: str) -> Stages:
    """Build a backbone by its name; raise ``ValueError`` for one that there is not."""
    if name not in _BUILDERS:
        raise ValueError(f"backbone {name!r}: one of {', '.join(_BUILDERS)} expected")
    return _BUILDERS[name]()


def _resnet() -> Stages:
    """A narrow ResNet of MONAI, a block a stage; its last stage is not used."""
    whole = ResNet(
        block="basic",
        layers=[1, 1, 1, 1],
        block_inplanes=[*RESNET_WIDTHS, RESNET_WIDTHS[-1]],
        n_input_channels=1,
        conv1_t_size=5,
        conv1_t_stride=2,
        no_max_pool=True,
        feed_forward=False,
        norm=_NORM,
    )
    stem = nn.Sequential(whole.conv1, whole.bn1, whole.act, whole.layer1)
    return Stages(stem, whole.layer2, whole.layer3, RESNET_WIDTHS[1:])


def _densenet121() -> Stages:
    """MONAI's DenseNet121 (Huang et al., CVPR 2017) as far as its second block, each with what narrows it behind it."""
    parts = dict(DenseNet121(spatial_dims=3, in_channels=1, out_channels=1, norm=_NORM).features.named_children())
    (*first, pool), (*second, _) = (parts[name].children() for name in ("transition1", "transition2"))
    return Stages(
        nn.Sequential(parts["conv0"], parts["norm0"], parts["relu0"], parts["pool0"]),
        nn.Sequential(parts["denseblock1"], *first),
        nn.Sequential(pool, parts["denseblock2"], *second),
        DENSENET121_CHANNELS,
    )


def _convnext() -> Stages:
    return Stages(convnext.stem(), convnext.fine(), convnext.coarse(), convnext.WIDTHS)


_BUILDERS: dict[str, Callable[[], Stages]] = {"resnet": _resnet, "densenet121": _densenet121, "convnext": _convnext}
