"""What a benchmark found, the gates that it must pass, and whether it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gate:
    """A figure with its limits; one that is no number passes none."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        """Say whether the figure is within its limits."""
        above = self.least is None or self.value >= self.least
        return bool(above and (self.most is None or self.value <= self.most))

    @property
    def limits(self) -> str:
        """Name the limits in words."""
        words = [f"at least {self.least:.3f}"] if self.least is not None else []
        return " and ".join(words + ([f"at most {self.most:.3f}"] if self.most is not None else []))


@dataclass(frozen=True)
class Found:
    """A benchmark that was run: a line of figures for each of its parts, and its gates."""

    title: str
    seeds: Sequence[int]
    lines: Mapping[str, Mapping[str, float | str]]
    gates: Sequence[Gate]

    @property
    def holds(self) -> bool:
        """Say whether every gate holds."""
        return all(gate.holds for gate in self.gates)

    def told(self) -> dict[str, Any]:
        """Give everything as JSON has it."""
        gates = [
            {"what": gate.what, "value": gate.value, "expected": gate.limits, "holds": gate.holds}
            for gate in self.gates
        ]
        figures = {name: dict(line) for name, line in self.lines.items()}
        return {"title": self.title, "seeds": list(self.seeds), "figures": figures, "gates": gates, "holds": self.holds}
