"""Which method wins, by the rules of docs/results/protocol.md."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from mile.reports.intervals import Estimate, holm, over_people, sign_flip_test, units
from mile.reports.markdown import head, line
from mile.reports.outcomes import METHODS, MILE_WITH_SILENCE, Outcome

COMPARED = (METHODS["MILE"], MILE_WITH_SILENCE)  # with every other method
SIGNIFICANT = 0.05
EXPLANATION = (
    "A gain of 0 is the score of the initial policy, 1 that of the expert, each on the same test bed; each task counts "
    "once. Where experts differ, each of them counts once in a task, too: p is of the sign-flip test over the means of "
    "the experts, adjusted by Holm's step-down for the number of rivals in the table, and intervals are Student's over "
    "the same means. With one expert for all, seeds take their place, and all of it holds for that expert alone. Below "
    "0.05 the method wins or loses, otherwise it is a tie. Gains of methods with fewer test beds are of these alone."
)

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


Ends = Mapping[str, Mapping[Place, Result]]  # by method and test bed


class Comparison(NamedTuple):
    """One method against another on the same test beds.

    Attributes:
        rival: The other method.
        pairs: Number of pairs, of one test bed each.
        difference: Mean difference in gain; above 0: the first method is better.
        alone: Mean difference in each experiment.
        p: Of the sign-flip test, adjusted for the number of rivals.
    """

    rival: str
    pairs: int
    difference: Estimate
    alone: list[Estimate]
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
        against: Verdict on each of `COMPARED` against this method; "–" where there is none.
    """

    method: str
    beds: int
    gain: Estimate
    alone: list[Estimate]
    against: dict[str, str]


def results(outcomes: Sequence[Outcome], series: Collection[tuple[str, str, str]]) -> dict[str, dict[Place, Result]]:
    """Return the ends of runs by method and test bed; not of those whose expert is no better than the initial policy.

    Args:
        outcomes: Outcomes of all runs.
        series: Experiment, method and variant of those that count.
    """
    starts: dict[tuple[str, str, int], float] = {}
    ends: defaultdict[str, dict[Place, Result]] = defaultdict(dict)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.round):
        if outcome.series not in series:
            continue
        run = (outcome.experiment, outcome.method, outcome.seed)
        if outcome.round == 0:
            starts[run] = outcome.score
        elif outcome.final:
            possible = outcome.expert - starts[run]
            if possible > 0:  # otherwise there is no expert, or nothing to gain
                gain, build = (outcome.score - starts[run]) / possible, (outcome.machine, outcome.torch)
                ends[outcome.method][outcome.experiment, outcome.seed] = Result(gain, outcome.person, build)
    return dict(ends)


def compare(ends: Ends, ours: str, experiments: Sequence[str]) -> list[Comparison]:
    """Compare a method with each other one, over the pairs that both have; the worst for it comes first.

    Args:
        ends: Ends of runs; see `results`.
        ours: The first method.
        experiments: Names of the experiments, each of which counts once; a rival without one of them is left out.
    """
    comparisons = []
    for rival, theirs in ends.items():
        differences = _differences(ends[ours], theirs)
        by_task = _by_task(differences, theirs, experiments)
        if rival == ours or not all(by_task):
            continue

        # what is tested is what is stated: means of people
        means = [list(map(fmean, task.values())) for task in by_task]
        alone = list(map(over_people, by_task))
        comparisons.append(Comparison(rival, _number(by_task), over_people(*by_task), alone, sign_flip_test(*means)))

    # adjusted for their number
    adjusted = holm([comparison.p for comparison in comparisons])
    comparisons = [comparison._replace(p=p) for comparison, p in zip(comparisons, adjusted, strict=True)]
    return sorted(comparisons, key=lambda comparison: comparison.difference.value)


def _differences(ours: Mapping[Place, Result], theirs: Mapping[Place, Result]) -> dict[Place, float]:
    """Return the differences in gain on the test beds that both have, with one expert, machine and build."""
    differences = {}
    for place in sorted(ours.keys() & theirs.keys()):
        own, other = ours[place], theirs[place]
        if (own.person, own.build) == (other.person, other.build):
            differences[place] = own.gain - other.gain
    return differences


def _by_task(
    values: Mapping[Place, float], ends: Mapping[Place, Result], experiments: Sequence[str]
) -> list[Mapping[str, Sequence[float]]]:
    """Return the values of each experiment by person; by seed where there is one person; empty if there are none."""
    tasks: list[Mapping[str, Sequence[float]]] = []
    for experiment in experiments:
        by_person: defaultdict[str, list[float]] = defaultdict(list)
        for place, value in values.items():
            if place[0] == experiment:
                by_person[ends[place].person].append(value)
        tasks.append(units(by_person))
    return tasks


def _number(by_task: Sequence[Mapping[str, Sequence[float]]]) -> int:
    """Return how many values there are in all."""
    number = 0
    for task in by_task:
        number += sum(map(len, task.values()))
    return number


def rank(ends: Ends, comparisons: Mapping[str, Sequence[Comparison]], experiments: Sequence[str]) -> list[Standing]:
    """Return where each method that has all the experiments stands: the best first, those on fewer test beds last.

    Args:
        ends: Ends of runs; see `results`.
        comparisons: What `compare` returns, by first method.
        experiments: Names of the experiments.
    """
    standings = []
    for method, places in ends.items():
        gains = {place: places[place].gain for place in sorted(places)}
        by_task = _by_task(gains, places, experiments)
        if not all(by_task):
            continue
        against = dict.fromkeys(comparisons, "–")
        for ours, rows in comparisons.items():
            for row in rows:
                if row.rival == method:
                    against[ours] = row.verdict
        alone = list(map(over_people, by_task))
        standings.append(Standing(method, _number(by_task), over_people(*by_task), alone, against))

    most = max((standing.beds for standing in standings), default=0)
    return sorted(standings, key=lambda standing: (standing.beds < most, -standing.gain.value))


class Verdicts(NamedTuple):
    """Who wins, over some experiments.

    Attributes:
        experiments: Names of the experiments.
        standings: Where each method stands.
        comparisons: Each of `COMPARED` against each other method.
        left_out: Methods that lack one of the experiments.
    """

    experiments: Sequence[str]
    standings: list[Standing]
    comparisons: dict[str, list[Comparison]]
    left_out: list[str]

    @property
    def text(self) -> str:
        """The tables in Markdown."""
        tables = [_standings(self), *(_comparisons(self, ours) for ours in self.comparisons), EXPLANATION + "\n"]
        if self.left_out:
            tables.append(
                f"Without runs of all these experiments, and therefore left out: {', '.join(self.left_out)}.\n"
            )
        return "\n".join(tables)


def decide(
    outcomes: Sequence[Outcome], experiments: Sequence[str], series: Collection[tuple[str, str, str]]
) -> Verdicts:
    """Compare MILE, and MILE with silence, with all others.

    Args:
        outcomes: Outcomes of all runs.
        experiments: Names of the experiments.
        series: Experiment, method and variant of the runs that count.
    """
    ends = results(outcomes, series)
    comparisons: dict[str, list[Comparison]] = {}
    for ours in COMPARED:
        if ours in ends:
            comparisons[ours] = compare(ends, ours, experiments)

    standings, left_out = rank(ends, comparisons, experiments), list(ends)
    for standing in standings:
        left_out.remove(standing.method)
    return Verdicts(experiments, standings, comparisons, left_out)


def _standings(verdicts: Verdicts) -> str:
    """Return the methods in Markdown, the best first."""
    against = [f"{ours} against it" for ours in verdicts.comparisons]
    lines = head("method", "test beds", "gain [95 %]", *verdicts.experiments, *against)
    for row in verdicts.standings:
        alone = [f"{gain.value:.2f}" for gain in row.alone]
        lines.append(line(row.method, f"{row.beds}", f"{row.gain:.2f}", *alone, *row.against.values()))
    return "\n".join(lines) + "\n"


def _comparisons(verdicts: Verdicts, ours: str) -> str:
    """Return one method against each other one in Markdown, the worst for it first."""
    lines = head(f"{ours} against", "pairs", "difference in gain [95 %]", "adjusted p", ours, *verdicts.experiments)
    for row in verdicts.comparisons[ours]:
        alone = [f"{difference:+.2f}" for difference in row.alone]
        lines.append(line(row.rival, f"{row.pairs}", f"{row.difference:+.2f}", f"{row.p:.2g}", row.verdict, *alone))
    return "\n".join(lines) + "\n"
