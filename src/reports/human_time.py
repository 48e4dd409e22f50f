"""What a policy cost in human time: until it needs no help any more, and on the way."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from mile.reports.intervals import over_people, units
from mile.reports.markdown import head, line
from mile.reports.outcomes import Outcome

GOOD = 0.8  # success of a policy that needs no help any more


def until_good(curve: Sequence[Outcome]) -> Outcome | None:
    """Return the first of two evaluations in succession that reach `GOOD`; None if there are none.

    Args:
        curve: Evaluations of one run in the order of rounds.
    """
    for first, second in pairwise(curve):
        if min(first.score, second.score) >= GOOD:
            return first
    return None


def area(curve: Sequence[Outcome], limit: int) -> float:
    """Return the mean score over steps of human control up to a limit; a policy acts until the next is evaluated.

    Args:
        curve: Evaluations of one run in the order of rounds, from the initial policy on.
        limit: Number of steps, at least 1.
    """
    total = 0.0
    for now, later in zip(curve, [*curve[1:], None], strict=True):
        end = limit if later is None else min(later.interventions, limit)
        total += now.score * max(0, end - now.interventions)
    return total / limit


def effort(outcomes: Iterable[Outcome], experiment: str) -> str:
    """Return a Markdown table of what the policies of an experiment in rounds cost in human time, by method.

    Args:
        outcomes: Outcomes of all runs.
        experiment: Name of an experiment whose metric is success.
    """
    lines = head(
        "method",
        "seeds",
        f"reach {GOOD:.0%}",
        "steps to it, median",
        "seconds",
        "mean success over human steps [95 %]",
    )
    for method, costs in _costs(outcomes, experiment).items():
        lines.append(_row(method, costs))
    return "\n".join(lines) + "\n"


class Cost(NamedTuple):
    """What one run cost in human time.

    Attributes:
        person: Expert of the run.
        mean_success: Mean success over human steps.
        steps: Steps of human control until the policy was good; infinite if it never was.
        seconds: Seconds of human control until then; NaN if that is not known.
    """

    person: str
    mean_success: float
    steps: float
    seconds: float


def _costs(outcomes: Iterable[Outcome], experiment: str) -> dict[str, list[Cost]]:
    """Return the costs of all runs of an experiment in rounds, by method."""
    # the evaluations of each seed, by method
    curves: defaultdict[int, dict[str, list[Outcome]]] = defaultdict(dict)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.round):
        if outcome.experiment == experiment and not outcome.variant and (outcome.round == 0 or not outcome.final):
            curves[outcome.seed].setdefault(outcome.method, []).append(outcome)

    # methods are compared up to the fewest steps that any of them used
    costs: defaultdict[str, list[Cost]] = defaultdict(list)
    for by_method in curves.values():
        limit = max(1, min(curve[-1].interventions for curve in by_method.values()))
        for method, curve in by_method.items():
            good = until_good(curve)
            steps = math.inf if good is None else good.interventions
            seconds = math.inf if good is None else good.seconds
            costs[method].append(Cost(curve[0].person, area(curve, limit), steps, seconds))
    return costs


def _row(method: str, costs: Sequence[Cost]) -> str:
    """Return a method's row of the table."""
    by_person: defaultdict[str, list[float]] = defaultdict(list)
    for cost in costs:
        by_person[cost.person].append(cost.mean_success)

    typical = sorted(costs, key=lambda cost: cost.steps)[len(costs) // 2]
    reached = sum(math.isfinite(cost.steps) for cost in costs)
    effort_words = [_words(typical.steps), _words(typical.seconds)]
    return line(method, f"{len(costs)}", f"{reached}", *effort_words, f"{over_people(units(by_person)):.2f}")


def _words(amount: float) -> str:
    """Return an amount of human time; NaN is not known, and infinity never reached."""
    if math.isnan(amount):
        return "not known"
    return f"{amount:.0f}" if math.isfinite(amount) else "never"
