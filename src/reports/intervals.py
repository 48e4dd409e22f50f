"""Means over training seeds, and how sure of them one can be.

Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
SIGN_FLIPS = 100_000  # at most; fewer pairs than 17 are flipped in all ways


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


def over_people(*tasks: Mapping[str, Sequence[float]]) -> Estimate:
    """Return the mean over people and over tasks, with Student's t for means over people.

    Seeds that share a person are alike: five people give four degrees of freedom a task, however many seeds there are.

    Args:
        tasks: Values by person, each `[seeds]`; the mean of each person counts once, and so does each task.
    """
    from scipy import stats

    means, variance, degrees = [], 0.0, 0
    for task in tasks:
        people = [float(np.mean(values)) for values in task.values()]
        means.append(np.mean(people))
        variance += np.var(people, ddof=1) / len(people) if len(people) > 1 else np.nan
        degrees += len(people) - 1

    value = float(np.mean(means))
    half_width = float(stats.t.ppf(0.975, degrees) * np.sqrt(variance) / len(tasks)) if degrees else float("nan")
    return Estimate(value, value - half_width, value + half_width)


def sign_flip_test(*tasks: Sequence[float]) -> float:
    """Return the two-sided p of the mean difference over pairs and over tasks, if within a pair either came first.

    Exact for up to 16 pairs, otherwise by random flips, the observed one included.

    Args:
        tasks: Differences within pairs, each `[pairs]`; each task counts once.
    """
    from scipy import stats

    shares = np.concatenate([np.asarray(task, float) / len(task) for task in tasks])
    if len(shares) < 2:  # which SciPy refuses: either sign is as likely
        return 1.0
    result = stats.permutation_test(
        (shares,),
        np.sum,
        permutation_type="samples",
        n_resamples=SIGN_FLIPS,
        batch=SIGN_FLIPS // 10,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's step-down (Scand. J. Stat. 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


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
