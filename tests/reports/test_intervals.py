import math

import numpy as np
import pytest

from mile.reports.intervals import interquartile_mean, mean, middle, probability_of_improvement, standard_error


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean([100, 1, 2, 3, 4, 5, 6, -100]) == np.mean([2, 3, 4, 5])


def test_a_mean_lies_in_its_interval_and_the_interval_covers_what_it_says():
    """Of 95 % intervals over normal samples, about 95 % hold the truth (bootstrap of 20: somewhat fewer)."""
    rng = np.random.default_rng(0)
    estimates = [mean(rng.normal(3, 1, 20)) for _ in range(100)]
    covered = sum(estimate.low <= 3 <= estimate.high for estimate in estimates)
    assert 85 <= covered <= 99
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in estimates)


def test_tasks_are_resampled_one_by_one():
    """Two tasks that differ much, each without spread: a pooled bootstrap would have an interval."""
    assert mean([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]) == (0.5, 0.5, 0.5)
    assert middle([0.0] * 4, [1.0] * 4).value == 0.5


def test_improvement_counts_pairs_and_halves_ties():
    assert probability_of_improvement(([1, 2, 3, 4], [0, 2, 5, 1])).value == (1 + 0.5 + 0 + 1) / 4
    assert probability_of_improvement(([1, 2], [0, 2]), ([3, 4], [5, 1])).value == (1 + 0.5 + 0 + 1) / 4


@pytest.mark.parametrize(
    ("wins", "losses", "low", "high"),
    [(5, 0, 0.4782, 1), (0, 5, 0, 0.5218), (1, 0, 0.025, 1), (0, 1, 0, 0.975), (8, 2, 0.4439, 0.9748)],
)
def test_an_interval_of_pairs_is_that_of_published_tables(wins, losses, low, high):
    """Two-sided 95 % limits of a binomial share, as in Geigy's or Fisher and Yates' tables."""
    estimate = probability_of_improvement(([1] * wins + [0] * losses, [0] * wins + [1] * losses))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_an_interval_of_pairs_covers_what_it_says_ties_or_not(pairs):
    """All outcomes of pairs that are won, tied or lost, each weighted by its probability."""
    numbers = range(pairs + 1)
    counts = [(wins, ties, pairs - wins - ties) for wins in numbers for ties in numbers if wins + ties <= pairs]
    intervals = {}
    for wins, ties, losses in counts:
        ours = [2] * wins + [1] * ties + [0] * losses
        intervals[wins, ties, losses] = probability_of_improvement((ours, [1] * pairs))
    for tie in (0.0, 0.2, 0.6):
        for win in (1 - tie) * np.linspace(0, 1, 21):
            covered = 0.0
            for (wins, ties, losses), estimate in intervals.items():
                ways = math.factorial(pairs) / (math.factorial(wins) * math.factorial(ties) * math.factorial(losses))
                if estimate.low <= win + tie / 2 <= estimate.high:
                    covered += ways * win**wins * tie**ties * (1 - win - tie) ** losses
            assert covered >= 0.95 - 1e-9


def test_one_seed_has_no_interval():
    assert math.isnan(mean([0.4]).low)
    assert math.isnan(standard_error([0.4]))
