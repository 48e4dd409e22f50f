"""What a policy cost in human time: until it needs no help any more, and on the way."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

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
    curves: defaultdict[int, dict[str, list[Outcome]]] = defaultdict(dict)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.round):
        if outcome.experiment == experiment and not outcome.variant and (outcome.round == 0 or not outcome.final):
            curves[outcome.seed].setdefault(outcome.method, []).append(outcome)

    # of each seed, up to the fewest steps that any method used
    areas: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    steps: defaultdict[str, list[float]] = defaultdict(list)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for by_method in curves.values():
        limit = max(1, min(curve[-1].interventions for curve in by_method.values()))
        for method, curve in by_method.items():
            areas[method][curve[0].person].append(area(curve, limit))
            good = until_good(curve)
            steps[method].append(math.inf if good is None else good.interventions)
            seconds[method].append(math.inf if good is None else good.seconds)

    mean_success = "mean success over human steps [95 %]"
    lines = head("method", "seeds", f"reach {GOOD:.0%}", "steps to it, median", "seconds", mean_success)
    for method, costs in steps.items():
        mean, reached = over_people(units(areas[method])), len(costs) - costs.count(math.inf)
        steps_to_it, seconds_to_it = statistics.median_high(costs), statistics.median_high(seconds[method])
        typical = [_words(steps_to_it), _words(seconds_to_it)]
        lines.append(line(method, f"{len(costs)}", f"{reached}", *typical, f"{mean:.2f}"))
    return "\n".join(lines) + "\n"


def _words(amount: float) -> str:
    """Return an amount of human time; NaN is not known, and infinity never reached."""
    if math.isnan(amount):
        return "not known"
    return f"{amount:.0f}" if math.isfinite(amount) else "never"
