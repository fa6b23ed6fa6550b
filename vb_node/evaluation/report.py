"""What an evaluation leaves: ``results.json`` for programs, ``cases.csv`` for spreadsheets, ``report.html`` for people.

The page is one file without script; everything in it is escaped. Cases have the names of the data set, patients none.
"""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vb_node import __version__, show
from vb_node.evaluation.figures import Figure

PACKAGES = ("torch", "monai", "numpy", "scikit-learn")
RESULTS, CASES, PAGE = "results.json", "cases.csv", "report.html"


@dataclass(frozen=True)
class Sheet:
    """A table: what it shows, its columns, its rows as text."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Curve:
    """A reliability plot: (confidence, share right, share of cases) of each bin, all 0 to 1."""

    caption: str
    points: Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class Report:
    """All that is told of an evaluation; ``about`` names data, weights, command and seed."""

    title: str
    about: Mapping[str, str]
    notes: Sequence[str]
    sheets: Sequence[Sheet]
    curves: Sequence[Curve] = ()
    cases: Sequence[Mapping[str, object]] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def write(out: Path, report: Report) -> None:
    """Write the three files."""
    out.mkdir(parents=True, exist_ok=True)
    about = dict(report.about) | versions()
    results = {"title": report.title, "about": about, "notes": list(report.notes), "figures": report.figures}
    (out / RESULTS).write_text(json.dumps(show.plain(results), indent=2) + "\n", "utf-8")
    with (out / CASES).open("w", encoding="utf-8", newline="") as stream:
        show.write_csv(stream, report.cases, list(report.cases[0]) if report.cases else ["case"])
    environment = Environment(
        loader=PackageLoader("vb_node.evaluation", "pages"), autoescape=True, undefined=StrictUndefined
    )
    made = datetime.now(UTC).isoformat(timespec="seconds")
    page = environment.get_template(PAGE).render(report=report, about=about, made=made)
    (out / PAGE).write_text(page, "utf-8")


def versions() -> dict[str, str]:
    """Name what computed."""
    return {"vb-node": __version__, "Python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def number(value: float) -> str:
    """Write a figure; what cannot be had is a dash."""
    return f"{value:.3f}" if math.isfinite(value) else "-"


def shown(figure: Figure) -> str:
    """Write a figure with its interval."""
    return f"{number(figure.value)} ({number(figure.low)} to {number(figure.high)})"
