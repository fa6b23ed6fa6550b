"""Which cases are learned from and which are held out: by patient, each class in its share."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from vb_node.errors import ConfigError

Indices = list[int]
PARTS = 5
# Of a fold's rest some learn and some calibrate: two patients of a class at least.
_REST = 2


def folds(targets: Sequence[int], patients: Sequence[str], count: int, seed: int) -> Iterator[tuple[Indices, Indices]]:
    """Give (rest, held out) of each fold; no patient is in both, and each case is held out once.

    Raises
    ------
    ConfigError
        A class has fewer patients than there are folds.
    """
    fewest = _fewest(targets, patients)
    if fewest < count:
        raise ConfigError(f"two classes and {count} patients of each expected; a class has {fewest}, or is alone")
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for rest, held_out in splitter.split(np.zeros(len(targets)), np.asarray(targets), np.asarray(patients)):
        yield rest.tolist(), held_out.tolist()


def split(targets: Sequence[int], patients: Sequence[str], seed: int) -> Iterator[tuple[Indices, Indices]]:
    """Give (rest, held out) of as many folds as fit."""
    return folds(targets, patients, fitting(targets, patients), seed)


def fitting(targets: Sequence[int], patients: Sequence[str]) -> int:
    """Count the folds that fit: ``PARTS``, or fewer where a class has fewer patients."""
    return max(2, min(PARTS, _fewest(targets, patients)))


def refuse_too_few(targets: Sequence[int], patients: Sequence[str], count: int) -> None:
    """Raise ``ConfigError`` where what a fold leaves of a class is too little to learn from and to calibrate with."""
    fewest = _fewest(targets, patients)
    if count < 2 or fewest < count or fewest - math.ceil(fewest / count) < _REST:
        raise ConfigError(
            "two classes, three patients of each and no fewer than there are folds (two or more) expected: some teach, "
            f"some calibrate, some are answered; with {count} folds, a class has {fewest}, or is alone"
        )


def hold_out(targets: Sequence[int], patients: Sequence[str], seed: int) -> tuple[Indices, Indices]:
    """Give (rest, held out) of one such fold."""
    return next(split(targets, patients, seed))


def _fewest(targets: Sequence[int], patients: Sequence[str]) -> int:
    """Count the patients of the smallest class; 0 where there is but one class."""
    of_class = Counter(target for target, _ in set(zip(targets, patients, strict=True)))
    return min(of_class.values()) if len(of_class) > 1 else 0
