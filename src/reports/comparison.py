"""Methods side by side: final scores by seed, and the better variant of each."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from mile.reports.intervals import Estimate, probability_of_improvement
from mile.reports.outcomes import METHODS, MILE_WITH_SILENCE, Outcome

OURS = METHODS["MILE"]
ROUNDS = ("", "restart")  # variants between which a method may choose: carried over, or from the start each round
SAME_DATA = "same data"


@dataclass(frozen=True)
class Series:
    """The finished runs of one experiment by one method in one variant.

    Attributes:
        experiment: Name of the experiment.
        method: Name of the method in figures.
        variant: Further differences to other runs; see `Outcome`.
        scores: Final score by seed.
        interventions: Number of intervention steps by seed.
        curve: Scores by round and seed; the final one is not among them.
        people: Who intervened, by seed; see `Outcome.person`.
        builds: Machine and version of PyTorch by seed.
        missing: Seeds that other series of the experiment have.
    """

    experiment: str
    method: str
    variant: str
    scores: dict[int, float]
    interventions: dict[int, int]
    curve: dict[int, dict[int, float]]
    people: dict[int, str]
    builds: dict[int, tuple[str, str]]
    missing: tuple[int, ...]

    @property
    def series(self) -> tuple[str, str, str]:
        """Experiment, method and variant, as in `Outcome.series`."""
        return self.experiment, self.method, self.variant

    @property
    def label(self) -> str:
        """Method and variant."""
        return f"{self.method} ({self.variant})" if self.variant else self.method

    @property
    def by_person(self) -> dict[str, list[float]]:
        """Final scores by person."""
        scores: defaultdict[str, list[float]] = defaultdict(list)
        for seed, score in self.scores.items():
            scores[self.people[seed]].append(score)
        return dict(scores)


def gather(outcomes: Iterable[Outcome]) -> list[Series]:
    """Sort outcomes into series, methods in the order of the figures."""
    grouped: defaultdict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    seeds: defaultdict[str, set[int]] = defaultdict(set)
    for outcome in outcomes:
        grouped[outcome.series].append(outcome)
        seeds[outcome.experiment].add(outcome.seed)
    series = [_series(members, seeds[members[0].experiment]) for members in grouped.values()]

    methods = {runs.method for runs in series}
    order = [*METHODS.values(), *sorted(methods.difference(METHODS.values()))]
    return sorted(series, key=lambda runs: (runs.experiment, runs.variant, order.index(runs.method)))


def _series(members: Sequence[Outcome], seeds: set[int]) -> Series:
    """Return the series of some outcomes.

    Args:
        members: Outcomes of one experiment, method and variant.
        seeds: Seeds of all runs of the experiment.
    """
    scores: dict[int, float] = {}
    interventions: dict[int, int] = {}
    people: dict[int, str] = {}
    builds: dict[int, tuple[str, str]] = {}
    curve: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for outcome in members:
        people[outcome.seed] = outcome.person
        builds[outcome.seed] = outcome.machine, outcome.torch
        if outcome.final and outcome.round:
            scores[outcome.seed] = outcome.score
            interventions[outcome.seed] = outcome.interventions
        else:
            curve[outcome.round][outcome.seed] = outcome.score

    experiment, method, variant = members[0].series
    return Series(
        experiment=experiment,
        method=method,
        variant=variant,
        scores=dict(sorted(scores.items())),
        interventions=dict(sorted(interventions.items())),
        curve=dict(sorted(curve.items())),
        people=people,
        builds=builds,
        missing=tuple(sorted(seeds - scores.keys())),
    )


def figure_methods(series: Sequence[Series], variants: Sequence[str] | None = None) -> list[str]:
    """Return the methods of a figure, in order: the paper's, run or missing, and others that have been run.

    Args:
        series: All series.
        variants: Variants that the figure is about; None: all.
    """
    methods = list(METHODS.values())
    for runs in series:
        if runs.method not in methods and (variants is None or runs.variant in variants):
            methods.append(runs.method)
    if not any(runs.method == MILE_WITH_SILENCE for runs in series):
        methods.remove(MILE_WITH_SILENCE)
    return methods


def _variants(series: Sequence[Series], experiment: str, method: str, variants: Sequence[str]) -> list[Series]:
    """Return the series of an experiment by a method, in some variants."""
    chosen = []
    for runs in series:
        if runs.experiment == experiment and runs.method == method and runs.variant in variants:
            chosen.append(runs)
    return chosen


def better(series: Sequence[Series], experiment: str, method: str) -> Series | None:
    """Return the variant of `ROUNDS` with the higher mean, of those with most seeds; None if the method was not run."""
    chosen = _variants(series, experiment, method, ROUNDS)
    return max(chosen, key=lambda runs: (len(runs.scores), fmean(runs.scores.values() or [0])), default=None)


def offline(series: Sequence[Series], experiment: str, method: str) -> Series | None:
    """Return the runs that learnt from MILE's recordings: MILE's own with or without silence, others' `SAME_DATA`."""
    variants = ("", SAME_DATA) if method in (OURS, MILE_WITH_SILENCE) else (SAME_DATA,)
    chosen = _variants(series, experiment, method, variants)
    return chosen[-1] if chosen else None


def improvement(ours: Series | None, theirs: Series | None) -> Estimate | None:
    """Return how often ours is better at the seeds that both have; None if there are none."""
    pair = paired(ours, theirs)
    return probability_of_improvement(pair) if pair else None


def paired(ours: Series | None, theirs: Series | None) -> tuple[list[float], list[float]] | None:
    """Return both scores at the seeds that both have, of one machine and build; None if there are none."""
    if ours is None or theirs is None:
        return None
    pair: tuple[list[float], list[float]] = [], []
    for seed in sorted(ours.scores.keys() & theirs.scores.keys()):
        if ours.builds[seed] != theirs.builds[seed]:
            continue
        pair[0].append(ours.scores[seed])
        pair[1].append(theirs.scores[seed])
    return pair if pair[0] else None


class References(NamedTuple):
    """What the policies of an experiment are compared with: means over its test beds.

    Attributes:
        metric: "return" or "success".
        initial: Score of the initial policy.
        helped: Score of the initial policy with interventions.
        expert: Score of the expert.
    """

    metric: str
    initial: float
    helped: float
    expert: float


def references(outcomes: Sequence[Outcome], experiment: str) -> References:
    """Return what the policies of an experiment are compared with.

    Of runs of one seed, those without a variant count: another variant may have another human.
    """
    starts: dict[int, Outcome] = {}
    for outcome in outcomes:
        if outcome.experiment != experiment or outcome.round > 0:
            continue
        if outcome.seed not in starts or not outcome.variant:
            starts[outcome.seed] = outcome
    scores = [(start.score, start.helped, start.expert) for start in starts.values()]
    initial, helped, expert = map(fmean, zip(*scores, strict=True))
    return References(next(iter(starts.values())).metric, initial, helped, expert)


def demonstrations(variant: str) -> int | None:
    """Return how many demonstrations a variant has; None if it is another kind of variant."""
    if not variant:
        return 0
    count, _, rest = variant.partition(" ")
    return int(count) if rest == "demonstrations" and count.isdecimal() else None
