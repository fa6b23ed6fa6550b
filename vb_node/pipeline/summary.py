"""What an application says of a job, for those who may not trust its shape: each is free to say what it likes."""

import math
from collections.abc import Mapping


def numbers(value: object) -> dict[str, float]:
    """Give the finite numbers of a mapping by name; of anything else none."""
    found = value.items() if isinstance(value, Mapping) else ()
    return {str(name): float(one) for name, one in found if _is_number(one)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
