import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from mile.reports.intervals import (
    holm,
    interquartile_mean,
    mean,
    middle,
    over_people,
    probability_of_improvement,
    sign_flip_test,
    standard_error,
    units,
)


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


def test_a_sign_flip_test_counts_all_ways_to_flip():
    """Fisher's way, on Darwin's fifteen pairs of plants (1935): 863 of 32 768 sums are as large, so p = 0.0527."""
    darwin = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flip_test(darwin) == pytest.approx(2 * 863 / 2**15)
    assert sign_flip_test([1.0] * 5) == pytest.approx(2 / 2**5)
    assert sign_flip_test([1.0]) == 1.0
    assert sign_flip_test([1.0] * 16) == 2 / 2**16  # exact still


def test_each_task_counts_once_in_a_sign_flip_test():
    """Enumerated: the mean of two task means over all signs."""
    first, second = [0.5, 0.2, -0.1], [0.3, 0.1]
    means = []
    for signs in product((-1, 1), repeat=5):
        means.append(np.mean(np.multiply(signs[:3], first)) + np.mean(np.multiply(signs[3:], second)))
    observed = np.mean(first) + np.mean(second)
    share = np.mean(np.abs(means) >= observed - 1e-12)
    assert sign_flip_test(first, second) == pytest.approx(share)


def test_many_pairs_have_the_normal_approximations_p():
    differences = np.random.default_rng(3).normal(0.3, 1, 60)
    z = differences.sum() / np.sqrt((differences**2).sum())
    assert sign_flip_test(list(differences)) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=0.15)


def test_holm_is_that_of_his_paper():
    """Worked by hand, and it never falls below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_an_interval_over_people_covers_what_it_says_and_one_over_seeds_does_not():
    """Five people of four seeds each, in one task and in four; Monte Carlo, ± 2 points at 95 %."""
    rng = np.random.default_rng(1)
    hits = {1: 0, 4: 0}
    naive = 0
    for _ in range(2000):
        tasks = []
        for _ in range(4):
            people = rng.normal(0, 1, 5)
            tasks.append({str(person): list(mean + rng.normal(0, 0.5, 4)) for person, mean in enumerate(people)})
        for number in hits:
            estimate = over_people(*tasks[:number])
            hits[number] += estimate.low <= 0 <= estimate.high
        seeds = [value for values in tasks[0].values() for value in values]
        low, high = stats.t.interval(0.95, 19, np.mean(seeds), stats.sem(seeds))
        naive += low <= 0 <= high
    assert [hits[number] / 2000 for number in (1, 4)] == pytest.approx([0.95, 0.95], abs=0.02)
    assert naive / 2000 < 0.8


@pytest.mark.parametrize("spreads", [(1, 1, 1, 1), (3, 1, 1, 1), (1, 0.1, 0.1, 0.1)])
def test_an_interval_over_tasks_that_differ_in_spread_covers_what_it_says(spreads):
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(3000):
        draws = [rng.normal(0, spread, 5) for spread in spreads]
        estimate = over_people(*({str(person): [value] for person, value in enumerate(draw)} for draw in draws))
        hits += estimate.low <= 0 <= estimate.high
    assert hits / 3000 == pytest.approx(0.95, abs=0.015)


def test_people_are_flipped_and_not_their_seeds():
    """No true difference, three people of three seeds in two tasks: 5 % of people's p at most, far more of seeds'.

    Of two people's seeds: these are twelve, and flipped in all ways.
    """
    rng = np.random.default_rng(4)
    by_people, by_seeds = 0, 0
    for _ in range(300):
        tasks = [rng.normal(0, 1, (3, 1)) + rng.normal(0, 0.5, (3, 3)) for _ in range(2)]
        by_people += sign_flip_test(*(list(task.mean(-1)) for task in tasks)) < 0.05
        by_seeds += sign_flip_test(*(list(task[:2].ravel()) for task in tasks)) < 0.05
    assert by_people / 300 <= 0.08
    assert by_seeds / 300 >= 0.15


def test_seeds_stand_for_people_where_there_is_one():
    assert units({"a": [1.0, 2.0]}) == {"0": [1.0], "1": [2.0]}
    assert units({"a": [1.0, 2.0], "b": [3.0]}) == {"a": [1.0, 2.0], "b": [3.0]}


def test_one_person_has_no_interval():
    estimate = over_people({"a": [1.0, 2.0]})
    assert estimate.value == 1.5
    assert math.isnan(estimate.low)
