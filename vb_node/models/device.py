"""On which device to run."""

import torch


def choose(wish: str) -> str:
    """Turn "auto" into "cuda" where there is one, else "cpu"; any other wish stands."""
    if wish != "auto":
        return wish
    return "cuda" if torch.cuda.is_available() else "cpu"
