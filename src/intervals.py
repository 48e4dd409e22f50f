"""Means over training seeds, and how sure of them one can be.

Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A figure and its 95 % interval, by percentile bootstrap over seeds; NaN where there is one seed.

    With five seeds it is narrower than Student's, and of no width where all seeds agree.
    """

    value: float
    low: float
    high: float


def standard_error(scores: ArrayLike) -> float:
    """Return the standard error of the mean of scores `[seeds]`; NaN for a single one."""
    return float(stats.sem(scores)) if np.size(scores) > 1 else float("nan")


def interquartile_mean(scores: ArrayLike, axis: int = 0) -> NDArray[np.float64]:
    """Return the mean of the middle half of scores."""
    return stats.trim_mean(scores, 0.25, axis=axis)


def mean(*tasks: Sequence[float]) -> Estimate:
    """Return the mean over all scores of some tasks, each `[seeds]`, resampled task by task (stratified)."""
    return _bootstrap(lambda *them, axis: np.concatenate(them, axis).mean(axis), tasks)


def middle(*tasks: Sequence[float]) -> Estimate:
    """Return the interquartile mean over all scores of some tasks, each `[seeds]`, resampled task by task."""
    return _bootstrap(lambda *them, axis: interquartile_mean(np.concatenate(them, axis), axis), tasks)


def probability_of_improvement(*tasks: tuple[Sequence[float], Sequence[float]]) -> Estimate:
    """Return how often ours is better than theirs at the same seed, a tie counting half; the mean over tasks.

    Args:
        tasks: pairs of ours and theirs, each `[seeds]`, in the same order.
    """
    wins = [np.sign(np.subtract(*pair)) / 2 + 0.5 for pair in tasks]
    return _bootstrap(lambda *them, axis: np.mean([it.mean(axis) for it in them], 0), wins)


def _bootstrap(statistic: Callable[..., NDArray[np.float64]], samples: Sequence[ArrayLike]) -> Estimate:
    arrays = [np.asarray(sample, float) for sample in samples]
    value = float(statistic(*arrays, axis=0))
    if min(len(array) for array in arrays) < 2:
        return Estimate(value, float("nan"), float("nan"))
    if all(np.ptp(array) == 0 for array in arrays):
        return Estimate(value, value, value)
    found = stats.bootstrap(
        arrays, statistic, n_resamples=RESAMPLES, method="percentile", vectorized=True, rng=np.random.default_rng(0)
    )
    return Estimate(value, float(found.confidence_interval.low), float(found.confidence_interval.high))
