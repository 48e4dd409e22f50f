"""Which method wins, by the rules of docs/results/protocol.md, and what a policy cost in human time."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from mile.reports.intervals import Estimate, holm, over_people, sign_flip_test
from mile.reports.outcomes import METHODS, MILE_WITH_SILENCE, Outcome

OURS = (METHODS["MILE"], MILE_WITH_SILENCE)
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


class Standing(NamedTuple):
    """Where a method stands among the others.

    Attributes:
        method: Name.
        beds: Number of test beds, of all experiments.
        gain: Mean gain, of which each experiment is an equal part.
        alone: Mean gain in each experiment.
        against: Verdict on MILE, and on MILE with silence, against this method; "" against itself.
    """

    method: str
    beds: int
    gain: Estimate
    alone: list[float]
    against: dict[str, str]


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


def rank(outcomes: Sequence[Outcome], experiments: Sequence[str], variants: Mapping[str, str]) -> list[Standing]:
    """Return where each method that has all the experiments stands, the best first."""
    ends = results(outcomes, variants)
    comparisons = {ours: compare(ends, ours, experiments) for ours in OURS if ours in ends}

    standings = []
    for method, places in ends.items():
        by_task = [_gains(places, experiment) for experiment in experiments]
        if not all(by_task):
            continue
        beds = sum(place[0] in experiments for place in places)
        alone = [over_people(by_person).value for by_person in by_task]
        against = dict.fromkeys(comparisons, "")
        for ours, rows in comparisons.items():
            against[ours] = next((row.verdict for row in rows if row.rival == method), "")
        standings.append(Standing(method, beds, over_people(*by_task), alone, against))
    return sorted(standings, key=lambda standing: standing.gain.value, reverse=True)


def _gains(places: Mapping[Place, Result], experiment: str) -> dict[str, list[float]]:
    """Return a method's gains in an experiment by person."""
    by_person: defaultdict[str, list[float]] = defaultdict(list)
    for place in sorted(places):
        if place[0] == experiment:
            by_person[places[place].person].append(places[place].gain)
    return dict(by_person)


def standings(ranked: Sequence[Standing], experiments: Sequence[str]) -> str:
    """Return the table of `rank` in Markdown."""
    against = [f"{ours} against it" for ours in ranked[0].against]
    lines = _head(["method", "test beds", "gain [95 %]", *experiments, *against])
    for row in ranked:
        alone = [f"{gain:.2f}" for gain in row.alone]
        lines.append(_line([row.method, f"{row.beds}", _interval(row.gain, ".2f"), *alone, *row.against.values()]))
    return "\n".join(lines) + "\n"


def verdicts(outcomes: Sequence[Outcome], experiments: Sequence[str], variants: Mapping[str, str]) -> str:
    """Return Markdown: MILE, and MILE with silence, against each other method, over all experiments and one by one."""
    ends = results(outcomes, variants)
    return "\n".join(_table(ends, ours, experiments) for ours in OURS if ours in ends)


def _table(ends: Mapping[str, Mapping[Place, Result]], ours: str, experiments: Sequence[str]) -> str:
    """Return one method against each other one, the worst for it first."""
    together = compare(ends, ours, experiments)
    alone = [compare(ends, ours, [experiment]) for experiment in experiments]
    lines = _head([f"{ours} against", "pairs", "difference in gain [95 %]", "adjusted p", ours, *experiments])
    for row in together:
        # each experiment with its own p
        cells = []
        for single in chain(*alone):
            if single.rival == row.rival:
                cells.append(f"{single.difference.value:+.2f}, {single.p:.2g}")
        difference = _interval(row.difference, "+.2f")
        lines.append(_line([row.rival, f"{row.pairs}", difference, f"{row.p:.2g}", row.verdict, *cells]))
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

    mean_success = "mean success over human steps [95 %]"
    lines = _head(["method", "seeds", f"reach {GOOD:.0%}", "steps to it, median", "seconds", mean_success])
    for method, costs in steps.items():
        mean, reached = over_people(areas[method]), len(costs) - costs.count(math.inf)
        steps_to_it, seconds_to_it = statistics.median_high(costs), statistics.median_high(seconds[method])
        typical = [_or_never(steps_to_it), _or_never(seconds_to_it)]
        lines.append(_line([method, f"{len(costs)}", f"{reached}", *typical, _interval(mean, ".2f")]))
    return "\n".join(lines) + "\n"


def _head(columns: Sequence[str]) -> list[str]:
    """Return the first two lines of a table."""
    return [_line(columns), f"|{'|'.join(['---'] * len(columns))}|"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(estimate: Estimate, form: str) -> str:
    """Return an estimate with its interval, which a single person does not have."""
    interval = "" if math.isnan(estimate.low) else f" [{estimate.low:{form}}, {estimate.high:{form}}]"
    return f"{estimate.value:{form}}{interval}"


def _or_never(amount: float) -> str:
    return f"{amount:.0f}" if math.isfinite(amount) else "never"
