"""Axes: round ticks, and short numbers for SVG.  Time on every chart is in milliseconds.

>>> ticks_s(60.0, 6)
[0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
>>> nice_step(0.37)
0.5
>>> number(1250.5), number(3.0)
('1250.5', '3')
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["LogAxis", "ms", "nice_step", "number", "ticks_s"]


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``least``."""
    if least <= 0 or not math.isfinite(least):
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * 0.999999)


def ticks_s(length_s: float, wanted: int) -> list[float]:
    """About ``wanted`` round moments from 0 to ``length_s``."""
    step = nice_step(length_s / max(1, wanted))
    return [round(i * step, 9) for i in range(int(length_s / step + 1e-9) + 1)]


def ms(time_ns: int) -> float:
    """Nanoseconds as the milliseconds of the charts."""
    return time_ns / 1e6


def number(value: float) -> str:
    """A coordinate to the thousandth, without needless digits."""
    text = f"{value:.3f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class LogAxis:
    """A logarithmic axis of ``height`` pixels that shows microseconds ``low`` to ``high``.

    It ends at powers of ten, so that its ticks are 1, 10, 100 ms and the like.
    """

    def __init__(self, low_us: float, high_us: float, height: float) -> None:
        self.low = math.floor(math.log10(max(1.0, low_us)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(1.0, high_us))))
        self.height = height

    def y(self, value_us: float) -> float:
        """Pixels from the top."""
        place = (math.log10(max(1.0, value_us)) - self.low) / (self.high - self.low)
        return self.height * (1 - min(1.0, max(0.0, place)))

    def heights(self, values_us: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Pixels from the top of many values."""
        place = (np.log10(np.maximum(1.0, values_us)) - self.low) / (self.high - self.low)
        heights: npt.NDArray[np.float64] = self.height * (1 - np.clip(place, 0.0, 1.0))
        return heights

    def ticks(self) -> list[tuple[float, str]]:
        """(pixels from the top, label) of each power of ten."""
        labels = []
        for power in range(self.low, self.high + 1):
            value_us = 10.0**power
            text = (
                f"{value_us / 1e6:g} s"
                if value_us >= 1e6
                else f"{value_us / 1e3:g} ms"
                if value_us >= 1e3
                else f"{value_us:g} µs"
            )
            labels.append((self.y(value_us), text))
        return labels
