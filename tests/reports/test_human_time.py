import math
import platform

import pytest
import torch

from mile.reports.human_time import area, effort, until_good
from mile.running.machine import describe_machine
from tests.reports.runs import outcome


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


def test_a_time_that_nobody_wrote_down_is_not_known():
    rows = []
    for number, score in enumerate((0.2, 0.9, 0.9)):
        facts = {"final": False, "experiment": "drawer_open_iterative", "variant": "", "seconds": math.nan}
        rows.append(outcome("MILE", 0, score, number, 100 * number, **facts))
    assert "| MILE | 1 | 1 | 100 | not known |" in effort(rows, "drawer_open_iterative")


def test_a_run_says_where_it_was_made():
    made = describe_machine()
    assert made["machine"].startswith(platform.machine())
    assert made["machine"].endswith(torch.backends.cpu.get_cpu_capability())
    assert made["torch"] == torch.__version__
