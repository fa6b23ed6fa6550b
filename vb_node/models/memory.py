"""How much memory a vision-language model needs, and how many pictures it may take at once.

The rule is 1.2 x weights + batch x tokens x cache + 2 GiB; parameters and cache were counted from published dimensions.
"""

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vb_node.errors import ConfigError, Later

GIB = 1 << 30
BESIDE = 2 * GIB
OVERHEAD = 1.2
_MEMINFO = Path("/proc/meminfo")


class NoMemory(Later):
    """The model would fit, but other programs hold the memory for now."""


def cache_bytes_per_token(config: Mapping[str, Any], bytes_each: int) -> int:
    """Count keys and values of one token in all layers of the language part."""
    text = config.get("text_config", config)
    heads = text.get("num_key_value_heads") or text["num_attention_heads"]
    width = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
    return int(2 * text["num_hidden_layers"] * heads * width * bytes_each)


def need_bytes(parameters: int, bytes_each: int, batch: int, tokens: int, cache: int) -> int:
    """Apply the rule; ``cache`` is a token's, ``tokens`` one question's with its answer."""
    return int(OVERHEAD * parameters * bytes_each) + batch * tokens * cache + BESIDE


def fitting_batch(wanted: int, fixed: int, each: int, *, free: int, total: int) -> int:
    """Give the largest batch up to ``wanted`` that fits; ``fixed`` is needed without any question, ``each`` for one.

    Raises
    ------
    ConfigError
        Not even one question would fit into an empty device.
    NoMemory
        It would, but not now.
    """
    need = fixed + each
    if need > total:
        raise ConfigError(
            f"the model needs {need / GIB:.1f} GiB and the device has {total / GIB:.1f} GiB: take a smaller model, "
            'or dtype = "bfloat16"'
        )
    if need > free:
        raise NoMemory(f"the model needs {need / GIB:.1f} GiB, {free / GIB:.1f} GiB are free: end what else runs there")
    return min(wanted, (free - fixed) // max(each, 1))


def device_memory(device: str) -> tuple[int, int]:
    """Give free and total bytes of a device; of main memory no more than this process may take (RLIMIT_DATA)."""
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        return int(free), int(total)
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    free, total = (1024 * int(lines[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return (free, total) if limit == resource.RLIM_INFINITY else (min(free, limit), min(total, limit))
