"""The one door to MONAI's networks.

MONAI imports all its modules with the first, and through one that nothing here uses Transformers, where it is
installed: two seconds of processor for each process that works on a case. So Transformers is not to be found while
MONAI looks for it (its ``optional_import`` then goes without), and is as before afterwards.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_to_be_found(name: str) -> Iterator[None]:
    """Have the import of a library fail in the block, unless it is imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # of the language: the import system's "there is none"
    try:
        yield
    finally:
        del sys.modules[name]


with not_to_be_found("transformers"):
    from monai.networks.nets.densenet import DenseNet121
    from monai.networks.nets.resnet import ResNet
    from monai.networks.nets.unet import UNet

__all__ = ["DenseNet121", "ResNet", "UNet"]
