"""On which device to run, and how: on a GPU in mixed precision, channels last, with bounded memory.

On a CPU everything is exact and as before: the same sums on every machine of a kind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from vb_node.errors import ConfigError
from vb_node.models.memory import NoMemory

Network = TypeVar("Network", bound=nn.Module)

GPU_SHARE = 0.9
"""Of a GPU's memory, the most that one process takes: drivers, screens and neighbours need the rest."""


def choose(wish: str) -> str:
    """Turn "auto" into "cuda" where there is one, else "cpu"; any other wish stands. A GPU's memory is bounded.

    Raises
    ------
    ConfigError
        A GPU is wished for, and there is none.
    """
    has_gpu = torch.cuda.is_available()
    device = wish if wish != "auto" else "cuda" if has_gpu else "cpu"
    if is_gpu(device) and not has_gpu:
        raise ConfigError(
            f'device "{device}" was asked for, and this torch ({torch.__version__}) sees no GPU: look at the driver '
            'with nvidia-smi, install a torch built for CUDA, or take "auto"'
        )
    if has_gpu and is_gpu(device):
        torch.cuda.set_per_process_memory_fraction(GPU_SHARE, torch.device(device))
    return device


def is_gpu(device: str) -> bool:
    return device.startswith("cuda")


def describe() -> str | None:
    """Name the GPU that ``choose`` would take and how much of its memory is free, None where there is none."""
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def settle(network: Network, device: str) -> Network:
    """Bring a 3-D network to its device, ready to be asked; a GPU's tensor cores take channels last."""
    network.eval().to(device)
    return network.to(memory_format=torch.channels_last_3d) if is_gpu(device) else network  # type: ignore[call-overload]


def lay(field: Tensor, device: str) -> Tensor:
    """Bring a network's input (b, c, k, j, i) to its device, laid as its network is."""
    field = field.to(device)
    return field.contiguous(memory_format=torch.channels_last_3d) if is_gpu(device) else field


@contextmanager
def asking(device: str) -> Iterator[None]:
    """Ask networks without gradients; on a GPU their convolutions take half precision.

    Raises
    ------
    NoMemory
        Other programs hold the GPU's memory for now.
    """
    with torch.inference_mode(), half_where_fast(device, torch.float16):
        try:
            yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise NoMemory(f"the GPU has no memory for a head now ({describe()}): end what else runs there") from error


def half_where_fast(device: str, dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    """Give mixed precision on a GPU, and nothing on a CPU; a training takes bfloat16, whose range needs no scaling."""
    return torch.autocast(torch.device(device).type, dtype, enabled=is_gpu(device))
