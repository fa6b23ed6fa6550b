"""What the NVIDIA driver says of this machine's GPUs; asked without torch, so that a page can afford it."""

from dataclasses import dataclass

import pynvml


@dataclass(frozen=True)
class Gpu:
    """One GPU now; ``busy`` is the share (0-1) of the last moment in which it computed."""

    name: str
    used_bytes: int
    total_bytes: int
    busy: float


def gpus() -> list[Gpu]:
    """List the GPUs; none where there is no driver, or it does not answer."""
    try:
        pynvml.nvmlInit()
        return [_look(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []


def _look(number: int) -> Gpu:
    device = pynvml.nvmlDeviceGetHandleByIndex(number)
    memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    busy = pynvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
    return Gpu(str(pynvml.nvmlDeviceGetName(device)), int(memory.used), int(memory.total), busy)
