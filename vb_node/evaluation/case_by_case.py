"""What is measured one case at a time: kept as soon as it is known, then averaged over patients, and told."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vb_node.evaluation.figures import Figure, with_intervals
from vb_node.evaluation.report import Report, Sheet, shown, write
from vb_node.training.cases import DataCase
from vb_node.training.code import code_sha256
from vb_node.training.phantom import Progress
from vb_node.types import Matrix

Row = dict[str, float | str | None]
# Distances have long tails; all else is averaged.
_MEDIAN = "median"
# the sizes of the tiny, deep-seated tumours that the paper is about
BAND_ML = (2.0, 15.0)
RIGHT_OF_ALL = "right, of all with a tumour"
RIGHT_OF_BAND = f"{RIGHT_OF_ALL} of {BAND_ML[0]:g} to {BAND_ML[1]:g} mL"


@dataclass(frozen=True, eq=False)
class Measured:
    """Columns of figures (n), NaN where a case has none."""

    patient: NDArray[np.str_]
    columns: Mapping[str, Matrix]

    def take(self, index: NDArray[np.intp]) -> Self:
        """Give some of the cases."""
        return type(self)(self.patient[index], {name: column[index] for name, column in self.columns.items()})

    def averages(self) -> dict[str, float]:
        """Average each column over the cases that have it."""
        return {name: _average(name, column[np.isfinite(column)]) for name, column in self.columns.items()}


def _average(name: str, known: Matrix) -> float:
    if not known.size:
        return float("nan")
    return float(np.median(known) if name.startswith(_MEDIAN) else known.mean())


def right_of(is_right: float, size_ml: float | None) -> Row:
    """Count a case with a tumour among all of them, and among those of its size."""
    row: Row = {RIGHT_OF_ALL: is_right, "lesion mL": size_ml and round(size_ml, 2)}
    is_in_band = size_ml is not None and BAND_ML[0] <= size_ml <= BAND_ML[1]
    return row | ({RIGHT_OF_BAND: is_right} if is_in_band else {})


def walk(
    cases: Sequence[DataCase], how: str, look: Callable[[DataCase], Row], keep: Path, progress: Progress
) -> list[Row]:
    """Look at each case once: ``keep`` holds what is known; ``how`` names all that decides beside case and code."""
    keep.mkdir(parents=True, exist_ok=True)
    rows = []
    for done, case in enumerate(cases, start=1):
        key = sha256(f"{case.sha256} {case.tumour_class} {how} {code_sha256()}".encode()).hexdigest()[:24]
        path = keep / f"case-{key}.json"
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_text(json.dumps(look(case)), "utf-8")
            part.replace(path)
        rows.append(json.loads(path.read_text("utf-8")))
        progress(done, len(cases))
    return rows


def tell(
    out: Path, report: Report, cases: Sequence[DataCase], rows: Sequence[Row], names: Sequence[str], seed: int
) -> dict[str, Figure]:
    """Average the columns ``names`` with intervals, write the report and give the figures."""
    figures, counts = average([case.patient for case in cases], rows, names, seed)
    sheet = averages_sheet("Figures with 95 % intervals", figures, counts)
    unknown: dict[str, object] = dict.fromkeys(key for row in rows for key in row)
    named = [
        {"case": case.name, "class": case.tumour_class or "none"} | unknown | row
        for case, row in zip(cases, rows, strict=True)
    ]
    told = averages_told(figures, counts)
    write(out, Report(report.title, report.about, report.notes, [sheet, *report.sheets], (), named, told))
    return figures


def average(
    patients: Sequence[str], rows: Sequence[Row], names: Sequence[str], seed: int
) -> tuple[dict[str, Figure], dict[str, int]]:
    """Average the columns ``names`` over patients, with intervals; give how many cases each has, too."""
    columns = {name: np.array([_number(row.get(name)) for row in rows]) for name in names}
    figures = with_intervals(Measured(np.array(patients), columns), Measured.averages, seed)
    return figures, {name: int(np.isfinite(column).sum()) for name, column in columns.items()}


def averages_sheet(title: str, figures: Mapping[str, Figure], counts: Mapping[str, int]) -> Sheet:
    """Lay averages out, a figure a line."""
    lines = [[name, shown(figure), str(counts[name])] for name, figure in figures.items()]
    return Sheet(title, ["", "value", "cases"], lines)


def averages_told(figures: Mapping[str, Figure], counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Give averages for the report's data."""
    return {name: asdict(figure) | {"cases": counts[name]} for name, figure in figures.items()}


def _number(value: float | str | None) -> float:
    return float("nan") if value is None or isinstance(value, str) else float(value)
