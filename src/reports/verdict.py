"""Which method wins, by the rules of docs/results/protocol.md, and what a policy cost in human time."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from mile.reports.intervals import Estimate, holm, over_people, sign_flip_test
from mile.reports.outcomes import METHODS, MILE_WITH_SILENCE, Outcome

SIGNIFICANT = 0.05
GOOD = 0.8  # success of a policy that needs no help any more

Place = tuple[str, int]  # experiment and seed


class Result(NamedTuple):
    """The end of a run.

    Attributes:
        gain: (score − initial) / (expert − initial), so that 0 is the initial policy and 1 the expert.
        person: Who intervened.
        build: Machine and version of PyTorch.
    """

    gain: float
    person: str
    build: tuple[str, str]


class Comparison(NamedTuple):
    """One method against another on the same test beds.

    Attributes:
        rival: The other method.
        pairs: Number of pairs, of one test bed each.
        difference: Mean difference in gain; above 0: the first method is better.
        p: Of the sign-flip test, adjusted for the number of rivals.
    """

    rival: str
    pairs: int
    difference: Estimate
    p: float

    @property
    def verdict(self) -> str:
        """What became of the first method: it wins, it loses, or neither."""
        if not self.p < SIGNIFICANT:
            return "tie"
        return "wins" if self.difference.value > 0 else "loses"


def results(outcomes: Iterable[Outcome], variants: Mapping[str, str]) -> dict[str, dict[Place, Result]]:
    """Return the ends of runs by method and test bed; not of those whose expert is no better than the initial policy.

    Args:
        outcomes: Outcomes of all runs.
        variants: The variant that stands for a method, where it is not the one under "".
    """
    starts: dict[tuple[str, str, str, int], float] = {}
    ends: defaultdict[str, dict[Place, Result]] = defaultdict(dict)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.round):
        if outcome.variant != variants.get(outcome.method, variants[""]):
            continue
        run = (*outcome.series, outcome.seed)
        if outcome.round == 0:
            starts[run] = outcome.score
        elif outcome.final:
            possible = outcome.expert - starts[run]
            if possible > 0:  # otherwise there is no expert, or nothing to gain
                gain, build = (outcome.score - starts[run]) / possible, (outcome.machine, outcome.torch)
                ends[outcome.method][outcome.experiment, outcome.seed] = Result(gain, outcome.person, build)
    return dict(ends)


def compare(ends: Mapping[str, Mapping[Place, Result]], ours: str, experiments: Sequence[str]) -> list[Comparison]:
    """Compare a method with each other one, over the pairs of some experiments that both have.

    Args:
        ends: Ends of runs by method and test bed; see `results`.
        ours: The first method.
        experiments: Names of the experiments, each of which counts once; a rival without one of them is left out.
    """
    comparisons = []
    for rival, theirs in ends.items():
        by_task = [_differences(ends[ours], theirs, experiment) for experiment in experiments]
        if rival == ours or not all(by_task):
            continue
        pairs = [list(chain(*by_person.values())) for by_person in by_task]
        p = sign_flip_test(*pairs)  # which knows no people
        comparisons.append(Comparison(rival, sum(map(len, pairs)), over_people(*by_task), p))

    # adjusted for their number
    adjusted = holm([comparison.p for comparison in comparisons])
    comparisons = [comparison._replace(p=p) for comparison, p in zip(comparisons, adjusted, strict=True)]
    return sorted(comparisons, key=lambda comparison: comparison.difference.value)


def _differences(
    ours: Mapping[Place, Result], theirs: Mapping[Place, Result], experiment: str
) -> dict[str, list[float]]:
    """Return the differences in gain by person: on the test beds that both have, of one machine and build."""
    by_person: defaultdict[str, list[float]] = defaultdict(list)
    for place in sorted(ours.keys() & theirs.keys()):
        own, other = ours[place], theirs[place]
        if place[0] == experiment and own.build == other.build:
            by_person[own.person].append(own.gain - other.gain)
    return dict(by_person)


def verdicts(outcomes: Sequence[Outcome], experiments: Sequence[str], variants: Mapping[str, str]) -> str:
    """Return Markdown: MILE, and MILE with silence, against each other method, over all experiments and one by one."""
    ends = results(outcomes, variants)
    tables = []
    for ours in (METHODS["MILE"], MILE_WITH_SILENCE):
        if ours in ends:
            tables.append(_table(ends, ours, experiments))
    return "\n".join(tables)


def _table(ends: Mapping[str, Mapping[Place, Result]], ours: str, experiments: Sequence[str]) -> str:
    """Return one method against each other one, the worst for it first."""
    together = compare(ends, ours, experiments)
    alone = [compare(ends, ours, [experiment]) for experiment in experiments]
    columns = [f"{ours} against", "pairs", "difference in gain [95 %]", "adjusted p", ours, *experiments]
    rule = ["---" for _ in columns]
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(rule)}|"]

    for row in together:
        # each experiment with its own p
        cells = []
        for single in chain(*alone):
            if single.rival == row.rival:
                cells.append(f"{single.difference.value:+.2f}, {single.p:.2g}")
        lines.append(
            f"| {row.rival} | {row.pairs} | {_interval(row.difference, '+.2f')} | {row.p:.2g} | {row.verdict} | "
            f"{' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


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
    """Return a Markdown table of what the policies of an experiment in rounds cost in human time, by method."""
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

    lines = [
        f"| method | seeds | reach {GOOD:.0%} | steps to it, median | seconds | mean success over human steps [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for method, costs in steps.items():
        mean, reached = over_people(areas[method]), len(costs) - costs.count(math.inf)
        steps_to_it, seconds_to_it = statistics.median_high(costs), statistics.median_high(seconds[method])
        lines.append(
            f"| {method} | {len(costs)} | {reached} | {_or_never(steps_to_it)} | {_or_never(seconds_to_it)} | "
            f"{_interval(mean, '.2f')} |"
        )
    return "\n".join(lines) + "\n"


def _interval(estimate: Estimate, form: str) -> str:
    """Return an estimate with its interval, which a single person does not have."""
    interval = "" if math.isnan(estimate.low) else f" [{estimate.low:{form}}, {estimate.high:{form}}]"
    return f"{estimate.value:{form}}{interval}"


def _or_never(amount: float) -> str:
    return f"{amount:.0f}" if math.isfinite(amount) else "never"
