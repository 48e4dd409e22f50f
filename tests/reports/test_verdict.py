import platform

import pytest
import torch

from mile.reports.outcomes import Outcome
from mile.reports.verdict import area, compare, effort, rank, results, standings, until_good, verdicts
from mile.running.machine import describe_machine

SAME = {"": "same data", "MILE": ""}


def outcome(method, seed, score, round_=1, interventions=100, **more):
    """A run on a test bed from 0.2 to 0.8, where person 0 or 1 intervenes."""
    facts = {
        "experiment": "drawer_open",
        "variant": "" if method == "MILE" else "same data",
        "settings": "s",
        "metric": "success",
        "final": True,
        "episodes": 100,
        "steps": 1000,
        "seconds": interventions / 80,
        "helped": 0.7,
        "expert": 0.8,
        "person": f"p{seed % 2}",
        "machine": "m",
        "torch": "t",
    }
    return Outcome(method=method, seed=seed, score=score, round=round_, interventions=interventions, **facts | more)


def runs(method, scores, **more):
    """A run a seed, from its start to its end."""
    both = []
    for seed, score in enumerate(scores):
        both += [outcome(method, seed, 0.2, 0, 0, **more), outcome(method, seed, score, **more)]
    return both


def test_a_gain_is_measured_from_the_initial_policy_to_the_expert():
    ends = results(runs("MILE", [0.5, 0.8]), SAME)
    assert [result.gain for result in ends["MILE"].values()] == pytest.approx([0.5, 1.0])


def test_where_nothing_can_be_gained_nothing_is_compared():
    assert results(runs("MILE", [0.5], expert=0.2), SAME) == {}
    assert results(runs("MILE", [0.5], expert=float("nan")), SAME) == {}


def test_a_difference_is_of_the_same_test_bed_machine_and_build():
    ours, theirs = runs("MILE", [0.5, 0.8, 0.8]), runs("IWR", [0.2, 0.5, 0.2])
    (row,) = compare(results([*ours, *theirs], SAME), "MILE", ["drawer_open"])
    assert (row.rival, row.pairs) == ("IWR", 3)
    assert row.difference.value == pytest.approx(((0.5 + 1.0) / 2 + 0.5) / 2)  # each person counts once
    assert row.p == pytest.approx(2 / 2**3)
    elsewhere = [outcome("IWR", 0, 0.2, 0, 0, machine="other"), outcome("IWR", 0, 0.2, machine="other"), *theirs[2:]]
    (row,) = compare(results([*ours, *elsewhere], SAME), "MILE", ["drawer_open"])
    assert row.pairs == 2


def test_who_wins_is_decided_by_the_adjusted_p():
    """Twelve seeds of twelve: p = 2 / 2^12 before, and twice that after adjustment for two rivals."""
    ours = runs("MILE", [0.6 + seed / 100 for seed in range(12)])
    worse, alike = runs("IWR", [0.4] * 12), runs("Sirius", [0.66 + seed / 100 * (-1) ** seed for seed in range(12)])
    rows = {row.rival: row for row in compare(results([*ours, *worse, *alike], SAME), "MILE", ["drawer_open"])}
    assert rows["IWR"].p == pytest.approx(4 / 2**12)
    assert (rows["IWR"].verdict, rows["Sirius"].verdict) == ("wins", "tie")
    text = verdicts([*ours, *worse, *alike], ["drawer_open"], SAME)
    assert "| IWR | 12 |" in text
    assert "| wins |" in text


def test_the_best_gain_comes_first_with_who_wins_against_it():
    """From 0.2 to 0.8: scores of 0.8, 0.5 and 0.2 are gains of 1, 0.5 and 0; sixteen of sixteen are no accident."""
    ours, good, bad = runs("MILE", [0.5] * 16), runs("IWR", [0.8] * 16), runs("Sirius", [0.2] * 16)
    elsewhere = runs("RLIF", [0.8] * 16, experiment="peg_insert")
    ranked = rank([*ours, *bad, *good, *elsewhere], ["drawer_open"], SAME)
    assert standings(ranked, ["drawer_open"]).splitlines()[2:] == [
        "| IWR | 16 | 1.00 [1.00, 1.00] | 1.00 | loses |",
        "| MILE | 16 | 0.50 [0.50, 0.50] | 0.50 |  |",
        "| Sirius | 16 | 0.00 [0.00, 0.00] | 0.00 | wins |",
    ]


def curve(method, seed, *points):
    """Evaluations of a run in rounds."""
    rows = []
    for number, (interventions, score) in enumerate(points):
        facts = {"final": number == 0, "experiment": "drawer_open_iterative", "variant": ""}
        rows.append(outcome(method, seed, score, number, interventions, **facts))
    return rows


def test_the_currency_is_human_time():
    """By hand: 0.2 for 100 steps, then 0.9 for 100, then 0.5."""
    points = curve("MILE", 0, (0, 0.2), (100, 0.9), (200, 0.5), (400, 0.9), (500, 1.0))
    assert area(points, 100) == pytest.approx(0.2)
    assert area(points, 300) == pytest.approx((0.2 + 0.9 + 0.5) / 3)
    assert area(points, 1000) == pytest.approx((20 + 90 + 100 + 90 + 500) / 1000)
    good = until_good(points)
    assert (good.interventions, good.seconds) == (400, 5.0)
    assert until_good(points[:4]) is None


def test_effort_is_compared_up_to_what_all_methods_used():
    """MILE is good after 100 steps of two seeds of two, the other one never; each area ends at 200."""
    rows = []
    for seed in (0, 1):
        rows += curve("MILE", seed, (0, 0.2), (100, 0.9), (200, 0.9))
        rows += curve("IWR", seed, (0, 0.2), (100, 0.4), (800, 0.9))
    table = effort(rows, "drawer_open_iterative")
    assert "| MILE | 2 | 2 | 100 | 1 | 0.55 [0.55, 0.55] |" in table
    assert "| IWR | 2 | 0 | never | never | 0.30 [0.30, 0.30] |" in table


def test_a_run_says_where_it_was_made():
    made = describe_machine()
    assert made["machine"].startswith(platform.machine())
    assert made["machine"].endswith(torch.backends.cpu.get_cpu_capability())
    assert made["torch"] == torch.__version__
