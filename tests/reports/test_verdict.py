from itertools import product

import numpy as np
import pytest

from mile.reports.verdict import compare, decide, results
from tests.reports.runs import outcome, runs

DRAWER = ["drawer_open"]
BOTH = ["drawer_open", "peg_insert"]


def series(rows):
    return {row.series for row in rows}


def ends(rows):
    return results(rows, series(rows))


def test_a_gain_is_measured_from_the_initial_policy_to_the_expert():
    gains = [result.gain for result in ends(runs("MILE", [0.5, 0.8]))["MILE"].values()]
    assert gains == pytest.approx([0.5, 1.0])


def test_where_nothing_can_be_gained_nothing_is_compared():
    assert ends(runs("MILE", [0.5], expert=0.2)) == {}
    assert ends(runs("MILE", [0.5], expert=float("nan"))) == {}


def test_only_the_series_that_are_asked_for_count():
    other = runs("MILE", [0.8], variant="restart")
    rows = runs("MILE", [0.5])
    assert results([*rows, *other], series(rows)) == ends(rows)


def test_a_difference_is_of_the_same_test_bed_person_machine_and_build():
    ours, theirs = runs("MILE", [0.5, 0.8, 0.8]), runs("IWR", [0.2, 0.5, 0.2])
    (row,) = compare(ends([*ours, *theirs]), "MILE", DRAWER)
    assert (row.rival, row.pairs) == ("IWR", 3)
    assert row.difference.value == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    for change in ({"machine": "other"}, {"torch": "other"}, {"person": "other"}):
        elsewhere = [outcome("IWR", 0, 0.2, 0, 0, **change), outcome("IWR", 0, 0.2, **change), *theirs[2:]]
        (row,) = compare(ends([*ours, *elsewhere]), "MILE", DRAWER)
        assert row.pairs == 2


def test_each_person_counts_once_and_so_does_each_task():
    """By hand, and p enumerated: in the first task person p has two seeds, q one; in the second three have one each."""
    rows = [*runs("MILE", [0.5, 0.8, 0.2], people="ppq"), *runs("IWR", [0.2, 0.2, 0.5], people="ppq")]
    rows += [*runs("MILE", [0.8, 0.8, 0.5], experiment="peg_insert"), *runs("IWR", [0.5] * 3, experiment="peg_insert")]
    (row,) = compare(ends(rows), "MILE", BOTH)
    first, second = [(0.5 + 1.0) / 2, -0.5], [0.5, 0.5, 0.0]
    assert row.pairs == 6
    assert [alone.value for alone in row.alone] == pytest.approx([np.mean(first), np.mean(second)])
    assert row.difference.value == pytest.approx((np.mean(first) + np.mean(second)) / 2)

    means = []
    for signs in product((-1, 1), repeat=5):
        means.append(np.mean(np.multiply(signs[:2], first)) + np.mean(np.multiply(signs[2:], second)))
    assert row.p == pytest.approx(np.mean(np.abs(means) >= 2 * row.difference.value - 1e-12))


def test_a_win_is_of_the_side_that_the_difference_is_on():
    """One person has seventeen test beds where MILE loses, another a single one where it wins by more."""
    people = "p" * 17 + "q"
    ours, theirs = runs("MILE", [0.2] * 17 + [0.8], people=people), runs("IWR", [0.38] * 17 + [0.2], people=people)
    (row,) = compare(ends([*ours, *theirs]), "MILE", DRAWER)
    assert row.difference.value == pytest.approx((-0.3 + 1.0) / 2)
    assert row.verdict == "tie"


def test_who_wins_is_decided_by_the_adjusted_p():
    """Twelve people of twelve: p = 2 / 2^12 before, and twice that after adjustment for two rivals."""
    ours = runs("MILE", [0.6 + seed / 100 for seed in range(12)])
    worse, alike = runs("IWR", [0.4] * 12), runs("Sirius", [0.66 + seed / 100 * (-1) ** seed for seed in range(12)])
    rows = {row.rival: row for row in compare(ends([*ours, *worse, *alike]), "MILE", DRAWER)}
    assert rows["IWR"].p == pytest.approx(4 / 2**12)
    assert (rows["IWR"].verdict, rows["Sirius"].verdict) == ("wins", "tie")


def test_six_people_can_decide_and_five_cannot():
    """At 5 %, as 2 / 2^5 is above it."""
    for people, verdict in ((6, "wins"), (5, "tie")):
        (row,) = compare(ends([*runs("MILE", [0.8] * people), *runs("IWR", [0.2] * people)]), "MILE", DRAWER)
        assert row.verdict == verdict


def test_where_one_person_serves_all_seeds_the_seeds_are_counted():
    people = "p" * 6
    ours, theirs = runs("MILE", [0.8] * 6, people=people), runs("IWR", [0.2] * 6, people=people)
    (row,) = compare(ends([*ours, *theirs]), "MILE", DRAWER)
    assert row.p == pytest.approx(2 / 2**6)


def test_the_best_gain_comes_first_and_the_one_with_fewer_test_beds_last():
    """From 0.2 to 0.8: scores of 0.8, 0.5 and 0.2 are gains of 1, 0.5 and 0; sixteen of sixteen are no accident."""
    ours, good, bad = runs("MILE", [0.5] * 16), runs("IWR", [0.8] * 16), runs("Sirius", [0.2] * 16)
    silent, few = runs("MILE + silence", [0.5] * 16), runs("PPL", [0.8] * 2)
    elsewhere = runs("RLIF", [0.8] * 16, experiment="peg_insert")
    rows = [*ours, *bad, *good, *silent, *few, *elsewhere]
    verdicts = decide(rows, DRAWER, series(rows))
    assert verdicts.text.splitlines()[:7] == [
        "| method | test beds | gain [95 %] | drawer_open | MILE against it | MILE + silence against it |",
        "|---|---|---|---|---|---|",
        "| IWR | 16 | 1.00 [1.00, 1.00] | 1.00 | loses | loses |",
        "| MILE | 16 | 0.50 [0.50, 0.50] | 0.50 | – | tie |",
        "| MILE + silence | 16 | 0.50 [0.50, 0.50] | 0.50 | tie | – |",
        "| Sirius | 16 | 0.00 [0.00, 0.00] | 0.00 | wins | wins |",
        "| PPL | 2 | 1.00 [1.00, 1.00] | 1.00 | tie | tie |",
    ]
    assert "| IWR | 16 | -0.50 [-0.50, -0.50] | 0.00012 | loses | -0.50 [-0.50, -0.50] |" in verdicts.text
    assert "left out: RLIF." in verdicts.text
