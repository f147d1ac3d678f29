"""What a benchmark hands back, and how it is shown."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing beside its limit, taken in the same run.

    unit   of ours and limit: `entries/s` (more is better) or `s`, `ms` (less is better)
    limit  what the bare way needs on the same machine in the same minutes; None where there is none to reach
    note   what was measured, in a line
    """

    name: str
    unit: str
    ours: float
    limit: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Return the share of the limit that is reached: 1.0 is as quick as the bare way."""
        if not self.limit or not self.ours:
            return None
        return self.ours / self.limit if self.unit.endswith("/s") else self.limit / self.ours

    def plain(self) -> dict[str, Any]:
        """Return the figure as the results file has it."""
        return {name: value for name, value in asdict(self).items() if name != "note"} | {"ratio": self.ratio}


def seconds(action: Callable[[], object]) -> float:
    """Run an action and return how long it took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def p50(values: Sequence[float]) -> float:
    """Return the median."""
    return median(values)


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile."""
    return quantiles(values, n=20, method="inclusive")[-1]


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return quantiles(values, n=100, method="inclusive")[-1]


def table(figures: Sequence[Figure]) -> str:
    """Return all figures as one table of text."""
    head = ("benchmark", "unit", "ours", "limit", "ratio", "")
    rows = [head] + [
        (f.name, f.unit, _short(f.ours), _short(f.limit), "" if f.ratio is None else f"{f.ratio:.3f}", f.note)
        for f in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in (2, 3, 4) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"
