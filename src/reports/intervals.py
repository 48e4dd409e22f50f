"""Means over training seeds, and how sure of them one can be.

Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
SIGN_FLIPS = 100_000  # at most; fewer differences than 17 are flipped in all ways


class Estimate(NamedTuple):
    """A number and its 95 % interval, of which both ends are NaN where one cannot tell.

    The interval of a mean over seeds is a percentile bootstrap: narrower than Student's with five, and of no width
    where all seeds agree. That of a mean over people is Student's, that of a share Clopper and Pearson's.

    Attributes:
        value: Estimated number.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __format__(self, form: str) -> str:
        """Return the number and its interval, each in a form: `f"{estimate:.2f}"` is "0.50 [0.41, 0.59]"."""
        interval = "" if math.isnan(self.low) else f" [{self.low:{form}}, {self.high:{form}}]"
        return f"{self.value:{form}}{interval}"


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


def units(by_person: Mapping[str, Sequence[float]]) -> Mapping[str, Sequence[float]]:
    """Return the values of a task `[seeds]` by what varies: the person, or the seed where one person serves all.

    What is found with one person holds for that person alone.
    """
    if len(by_person) != 1:
        return by_person
    (values,) = by_person.values()
    return {f"{number}": [value] for number, value in enumerate(values)}


def over_people(*tasks: Mapping[str, Sequence[float]]) -> Estimate:
    """Return the mean over people and over tasks, with Student's t for means over people.

    Seeds that share a person are alike: five people give four degrees of freedom a task, however many seeds there are.
    Over several tasks they are those of Welch and Satterthwaite (Biometrics Bulletin 1946).

    Args:
        tasks: Values by person, each `[seeds]`; the mean of each person counts once, and so does each task.
    """
    from scipy import stats

    means, variances, shares = [], [], []
    for task in tasks:
        people = list(map(np.mean, task.values()))
        means.append(np.mean(people))
        variances.append(np.var(people, ddof=1) / len(people) if len(people) > 1 else np.nan)
        shares.append(variances[-1] ** 2 / max(len(people) - 1, 1))

    value, variance = float(np.mean(means)), float(np.sum(variances))
    if variance == 0:  # all agree
        return Estimate(value, value, value)
    degrees = variance**2 / np.sum(shares)
    half_width = float(stats.t.ppf(0.975, degrees) * np.sqrt(variance) / len(tasks))
    return Estimate(value, value - half_width, value + half_width)


def sign_flip_test(*tasks: Sequence[float]) -> float:
    """Return the two-sided p of the mean difference over tasks, if each difference is as likely with the other sign.

    Exact for up to 16 differences, otherwise by random flips, the observed one included.

    Args:
        tasks: Differences of independent units, such as means of people, each `[units]`; each task counts once.
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
