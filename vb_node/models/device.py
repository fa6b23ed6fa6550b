"""On which device to run."""

import torch


def choose(wish: str) -> str:
    """Turn "auto" into "cuda" where there is one, else "cpu"; any other wish stands."""
    if wish != "auto":
        return wish
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe() -> str | None:
    """Name the GPU that ``choose`` would take and how much of its memory is free, None where there is none."""
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
