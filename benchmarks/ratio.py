"""The ratio of two times, measured in turns because machines are noisy and drift."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch.utils.benchmark import Timer

MIN_TIME = 0.5  # s, for which a short statement is repeated in one measurement


class Figure(NamedTuple):
    """The median of some repetitions, and their quartiles."""

    median: float
    low: float
    high: float


def ratio(numerator: Callable[[], Any], denominator: Callable[[], Any], repetitions: int = 7) -> Figure:
    """Return the time of the first over the time of the second; both are short and are repeated."""

    def seconds(function: Callable[[], Any]) -> float:
        return Timer("function()", globals={"function": function}).blocked_autorange(min_run_time=MIN_TIME).median

    return _figure([seconds(numerator) / seconds(denominator) for _ in range(repetitions)])


def ratio_once(numerator: Callable[[], Any], denominator: Callable[[], Any], repetitions: int = 3) -> Figure:
    """Return the same ratio of functions that take seconds, and run once in each repetition."""
    return _figure([elapsed(numerator) / elapsed(denominator) for _ in range(repetitions)])


def elapsed(function: Callable[[], Any]) -> float:
    """Return the wall-clock time of one call, s."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def _figure(values: list[float]) -> Figure:
    return Figure(*(float(np.quantile(values, q)) for q in (0.5, 0.25, 0.75)))
