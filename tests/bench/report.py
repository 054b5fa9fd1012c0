"""Tables of medians and the list of goals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

Samples = dict[str, dict[str, list[float]]]  # [row][column] → one value a round


class Goal:
    def __init__(self, what: str, value: float, limit: float, *, least: bool = False) -> None:
        self.what, self.value, self.limit, self.least = what, value, limit, least

    @property
    def reached(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.least else "≤"
        mark = "reached    " if self.reached else "NOT REACHED"
        return f"  {mark}  {self.what:<58} {self.value:>9.4g}  (goal {sign} {self.limit:g})"


def table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """The first row is the head; the first column is aligned to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  " + "  ".join([row[0].ljust(widths[0]), *cells]), flush=True)


def goals(title: str, each: Sequence[Goal]) -> None:
    print(f"\n{title}: goals")
    for goal in each:
        print(goal)
    print(end="", flush=True)


def ratio(
    one: Sequence[float],
    other: Sequence[float],
    combine: Callable[[float, float], float] = lambda a, b: a / b,
) -> float:
    """Median of the ratios within each round: what slows a whole round cancels out."""
    return statistics.median(combine(a, b) for a, b in zip(one, other))
