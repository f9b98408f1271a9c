"""Where marks of a small plot stand: values in, places out. The templates draw them, style sheets colour them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Tick(NamedTuple):
    """A mark of an axis: where it stands, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A linear axis.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        start: Where the lower end is drawn.
        end: Where the upper end is drawn.
        values: What is marked.
    """

    low: float
    high: float
    start: float
    end: float
    values: tuple[float, ...] = ()

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        start: float,
        end: float,
        *,
        about: int = 4,
        whole: bool = False,
        zero: bool = False,
    ) -> "Axis":
        """Return an axis that holds values and ends at round numbers.

        Args:
            values: What it must hold; those that are not finite are left out.
            start: Where its lower end is drawn.
            end: Where its upper end is drawn.
            about: How many steps it is divided into, more or less.
            whole: Whether it counts, so that only whole numbers are marked.
            zero: Whether it begins at 0 where all values are positive.
        """
        known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min([*known, *([0.0] if zero else [])]), max(known)
        if high == low:
            low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
        step = _round_step((high - low) / about)
        if whole:
            step = max(1.0, round(step))
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        marks = tuple(number * step for number in range(first, last + 1))
        return cls(marks[0], marks[-1], start, end, marks)

    def at(self, value: float) -> float:
        """Return where a value is drawn."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)

    def ticks(self, factor: float = 1) -> list[Tick]:
        """Return the marked values, as multiples of a unit such as 100 for per cent."""
        return [
            Tick(self.at(value), f"{round(factor * value, 10):g}".replace("-", "\N{MINUS SIGN}"))
            for value in self.values
        ]


def _round_step(step: float) -> float:
    """Return 1, 2 or 5 times a power of ten: the smallest that is not smaller."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= step * (1 - 1e-9))


class Line(NamedTuple):
    """A line through points, "x,y x,y", and its class in the style sheet."""

    points: str
    kind: str


class Bar(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    kind: str


class Dot(NamedTuple):
    """A point."""

    x: float
    y: float
    kind: str


@dataclass
class Plot:
    """A plot with two axes.

    Attributes:
        label: What is said in its place to those who don't see it.
        x: The horizontal axis.
        y: The vertical axis.
        x_title: What the horizontal axis says.
        width: Width in units of the drawing, about a pixel each.
        height: Height likewise.
        lines: Lines.
        bars: Rectangles.
        dots: Points.
        x_ticks: Marks of the horizontal axis.
        y_ticks: Marks of the vertical axis.
    """

    label: str
    x: Axis
    y: Axis
    x_title: str
    width: int
    height: int
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    x_ticks: list[Tick] = field(default_factory=list)
    y_ticks: list[Tick] = field(default_factory=list)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw a line; it is broken where a value is not finite."""
        part: list[str] = []
        for x, y in [*zip(xs, ys, strict=True), (math.nan, math.nan)]:
            if math.isfinite(x) and math.isfinite(y):
                part.append(f"{self.x.at(x):g},{self.y.at(y):g}")
            elif part:
                self.lines.append(Line(" ".join(part), kind))
                part = []

    def bar(self, left: float, right: float, low: float, high: float, kind: str) -> None:
        """Draw a rectangle between values."""
        x, y = self.x.at(left), self.y.at(max(low, high))
        width, height = self.x.at(right) - x, self.y.at(min(low, high)) - y
        self.bars.append(Bar(x, y, round(width, 2), round(height, 2), kind))

    def dot(self, x: float, y: float, kind: str) -> None:
        """Draw a point."""
        self.dots.append(Dot(self.x.at(x), self.y.at(y), kind))
