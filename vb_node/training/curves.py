"""The curves of a training, for TensorBoard where somebody wants to see them: an optional package."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vb_node.errors import ConfigError

Curve = Callable[[str, float, int], None]
"""Takes name, value and step of a point."""


def no_curve(_name: str, _value: float, _step: int) -> None:
    """Draw nothing."""


@contextmanager
def to_tensorboard(folder: Path | None) -> Iterator[Curve]:
    """Give what draws into a folder that ``tensorboard --logdir`` shows, or nowhere for None.

    Raises
    ------
    ConfigError
        The package is not installed.
    """
    if folder is None:
        yield no_curve
        return
    try:
        from torch.utils.tensorboard import SummaryWriter  # late: it is optional
    except ImportError as error:
        raise ConfigError(
            "the package tensorboard expected for --tensorboard: install it with `deploy/install.sh tensorboard`"
        ) from error
    with SummaryWriter(str(folder)) as writer:
        yield writer.add_scalar
