"""How well a lesion keeps its volume on its way from the 1 mm grid to the grid of the source.

Run ``python tests/benchmarks/volume_on_grids.py`` and keep its table in docs/results.md.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from factories import affine, turned

from vb_node import show
from vb_node.pipeline.resample import labels_to_grid
from vb_node.types import Grid, Labels

SPACINGS_MM = ((1.0, 1.0, 1.0), (1.0, 0.5, 0.5), (3.0, 0.9, 0.9), (5.0, 0.5, 0.5), (6.5, 0.9, 0.9))
VOLUMES_ML = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
LESIONS = 20
SIZE_MM, REACH_MM = 96, 110.0


def main() -> None:
    standard = _grid((1.0, 1.0, 1.0), float(SIZE_MM), degrees=0.0)
    rows = []
    for spacing_mm in SPACINGS_MM:
        source = _grid(spacing_mm, REACH_MM, degrees=17.0)
        worst = [_worst(volume_ml, standard, source) for volume_ml in VOLUMES_ML]
        rows.append([" x ".join(map(str, spacing_mm)), *(f"{error:.1%}" for error in worst)])
    show.table(f"Largest of {LESIONS} differences of volume", ["mm", *(f"{ml} mL" for ml in VOLUMES_ML)], rows)


def _grid(spacing_mm: tuple[float, float, float], reach_mm: float, degrees: float) -> Grid:
    shape = tuple(int(np.ceil(reach_mm / step)) for step in spacing_mm)
    placed = affine(spacing_mm, turned(degrees))
    placed[:3, 3] = -placed[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, placed, "1.2.3")


def _worst(volume_ml: float, standard: Grid, source: Grid) -> float:
    rng = np.random.default_rng(0)
    return max(abs(_error(_ellipsoid(volume_ml, standard, rng), standard, source)) for _ in range(LESIONS))


def _error(labels: Labels, standard: Grid, source: Grid) -> float:
    carried = labels_to_grid(labels, standard, source)
    return float((carried > 0).sum() * source.voxel_mm3 / (labels.sum() * standard.voxel_mm3) - 1)


def _ellipsoid(volume_ml: float, grid: Grid, rng: np.random.Generator) -> Labels:
    stretch = rng.uniform(0.7, 1.3, 3)
    axes_mm = (3 * 1000 * volume_ml / (4 * np.pi)) ** (1 / 3) * stretch / stretch.prod() ** (1 / 3)
    points = grid.to_lps(np.indices(grid.shape).reshape(3, -1).T)
    inside = (((points - rng.uniform(-10, 10, 3)) / axes_mm) ** 2).sum(axis=1) < 1
    return inside.reshape(grid.shape).astype(np.uint8)


if __name__ == "__main__":
    main()
