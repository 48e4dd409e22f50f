"""Means over training seeds, and how sure of them one can be.

Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A number and its 95 % interval.

    The interval of a mean is a percentile bootstrap over seeds: NaN where there is one seed, narrower than Student's
    with five, and of no width where all seeds agree. The interval of a share is Clopper and Pearson's.

    Attributes:
        value: Estimated number.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


def standard_error(scores: ArrayLike) -> float:
    """Return the standard error of the mean of scores `[seeds]`; NaN for a single one."""
    from scipy import stats

    return float(stats.sem(scores)) if np.size(scores) > 1 else float("nan")


def interquartile_mean(scores: ArrayLike, axis: int = 0) -> NDArray[np.float64]:
    """Return the mean of the middle half of scores."""
    from scipy import stats

    return stats.trim_mean(scores, 0.25, axis=axis)


def mean(*tasks: Sequence[float]) -> Estimate:
    """Return the mean over all scores of some tasks, each `[seeds]`, resampled task by task (stratified)."""
    return _bootstrap(lambda *samples, axis: np.concatenate(samples, axis).mean(axis), tasks)


def middle(*tasks: Sequence[float]) -> Estimate:
    """Return the interquartile mean over all scores of some tasks, each `[seeds]`, resampled task by task."""
    return _bootstrap(lambda *samples, axis: interquartile_mean(np.concatenate(samples, axis), axis), tasks)


def probability_of_improvement(*tasks: tuple[Sequence[float], Sequence[float]]) -> Estimate:
    """Return the share of pairs in which ours is better than theirs at the same seed, a tie counting half.

    The pairs of all tasks are pooled. The interval is exact (Clopper and Pearson, Biometrika 1934), and conservative
    where there are ties: its lower end counts them as losses, its upper end as wins. One win in one pair gives
    [0.025, 1].

    Args:
        tasks: Pairs of our scores and theirs, each `[seeds]` in the same order; at least one pair in all.
    """
    from scipy import stats

    differences = np.concatenate([np.subtract(*pair) for pair in tasks])
    pairs, wins, ties = len(differences), int((differences > 0).sum()), int((differences == 0).sum())
    low = stats.binomtest(wins, pairs).proportion_ci(0.95, method="exact").low
    high = stats.binomtest(wins + ties, pairs).proportion_ci(0.95, method="exact").high
    return Estimate((wins + ties / 2) / pairs, float(low), float(high))


def _bootstrap(statistic: Callable[..., NDArray[np.float64]], samples: Sequence[ArrayLike]) -> Estimate:
    """Return a statistic of samples, each `[seeds]`, with its percentile bootstrap."""
    arrays = [np.asarray(sample, float) for sample in samples]
    value = float(statistic(*arrays, axis=0))

    # cases without a bootstrap
    if min(len(array) for array in arrays) < 2:
        return Estimate(value, float("nan"), float("nan"))
    if all(np.ptp(array) == 0 for array in arrays):
        return Estimate(value, value, value)

    from scipy import stats

    result = stats.bootstrap(
        arrays, statistic, n_resamples=RESAMPLES, method="percentile", vectorized=True, rng=np.random.default_rng(0)
    )
    interval = result.confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))
