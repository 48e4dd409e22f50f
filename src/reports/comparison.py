"""Methods side by side: final scores by seed, the better variant of each, and a table of all."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from mile.reports.intervals import Estimate, mean, middle, probability_of_improvement, standard_error
from mile.reports.outcomes import METHODS, MILE_WITH_SILENCE, Outcome

OURS = METHODS["MILE"]
INTERVALS = (
    "P(MILE better) is the share of pairs of runs with the same seed in which MILE's is better, a tie counting half. "
    "Its 95 % interval is Clopper and Pearson's, exact for a share; ties are losses for its lower end and wins for its "
    "upper end. Five pairs of five give [0.48, 1]. All other intervals are percentile bootstraps over seeds."
)
ROUNDS = ("", "restart")  # variants between which a method may choose: carried over, or from the start each round
SAME_DATA = "same data"
HEADER = (
    "| method | seeds | mean ± s.e. | 95 % | IQM | interventions | a point gained | P(MILE better) [95 %] |",
    "|---|---|---|---|---|---|---|---|",
)


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
        missing: Seeds that other series of the experiment have.
    """

    experiment: str
    method: str
    variant: str
    scores: dict[int, float]
    interventions: dict[int, int]
    curve: dict[int, dict[int, float]]
    missing: tuple[int, ...]

    @property
    def series(self) -> tuple[str, str, str]:
        """Experiment, method and variant, as in `Outcome.series`."""
        return self.experiment, self.method, self.variant

    @property
    def label(self) -> str:
        """Method and variant."""
        return f"{self.method} ({self.variant})" if self.variant else self.method


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
    curve: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for outcome in members:
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
    pair = _paired(ours, theirs)
    return probability_of_improvement(pair) if pair else None


def _paired(ours: Series | None, theirs: Series | None) -> tuple[list[float], list[float]] | None:
    """Return both scores at the seeds that both have; None if there are none."""
    if ours is None or theirs is None:
        return None
    pair: tuple[list[float], list[float]] = [], []
    for seed in sorted(ours.scores.keys() & theirs.scores.keys()):
        pair[0].append(ours.scores[seed])
        pair[1].append(theirs.scores[seed])
    return pair if pair[0] else None


def markdown(series: Sequence[Series], outcomes: Sequence[Outcome]) -> str:
    """Return Markdown: a table for each experiment, and what is missing.

    "A point gained" are the steps with ν=1 for each point of success (%) or of return above the initial policy.
    """
    lines = []
    for experiment in dict.fromkeys(runs.experiment for runs in series):
        # the policies to compare with
        reference = next(outcome for outcome in outcomes if outcome.experiment == experiment)
        initial = initial_score(outcomes, experiment)
        number = _percent if reference.metric == "success" else _one_decimal
        lines += [
            f"## {experiment}",
            "",
            f"{reference.metric.capitalize()}: initial policy {number(initial)}, with interventions "
            f"{number(reference.helped)}, expert {number(reference.expert)}.",
            "",
            *HEADER,
        ]

        # methods
        contenders = [runs for runs in series if runs.experiment == experiment]
        missing = figure_methods(series)
        for runs in contenders:
            lines.append(f"| {' | '.join(_row(runs, _rival(runs, contenders), number, initial))} |")
            if runs.method in missing:
                missing.remove(runs.method)
        if missing:
            lines += ["", f"Missing: {', '.join(missing)}."]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def initial_score(outcomes: Sequence[Outcome], experiment: str) -> float:
    """Return the score of an experiment's initial policy."""
    return next(outcome.score for outcome in outcomes if outcome.experiment == experiment and outcome.round == 0)


def _rival(runs: Series, contenders: Sequence[Series]) -> Series | None:
    """Return the runs of MILE to compare with: in the same variant if there are any, plain ones for MILE itself.

    Args:
        runs: Series of some method.
        contenders: All series of the experiment.
    """
    plain = None
    for other in contenders:
        if other.method == OURS and other.variant == runs.variant and runs.method != OURS:
            return other
        if other.method == OURS and not other.variant:
            plain = other
    return plain


def _row(runs: Series, rival: Series | None, number: Callable[[float], str], initial: float) -> list[str]:
    """Return a line of the table, cell by cell.

    Args:
        runs: Series of the line.
        rival: Series of MILE to compare with.
        number: Format of a score.
        initial: Score of the initial policy.
    """
    scores = list(runs.scores.values())
    estimate, several = mean(scores), len(scores) > 1

    # seeds
    seeds = f"{len(scores)}"
    if runs.missing:
        seeds += f", missing {', '.join(map(str, runs.missing))}"

    # what a point above the initial policy cost
    spent = sum(runs.interventions.values()) / len(runs.interventions)
    gained = (estimate.value - initial) * (100 if number is _percent else 1)

    wins = improvement(rival, runs) if runs is not rival else None
    return [
        runs.label,
        seeds,
        number(estimate.value) + (f" ± {number(standard_error(scores))}" if several else ""),
        f"[{number(estimate.low)}, {number(estimate.high)}]" if several else "",
        number(middle(scores).value),
        f"{spent:.0f}",
        f"{spent / gained:.1f}" if gained > 0 else "no gain",
        _interval(wins) if wins else "",
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _one_decimal(value: float) -> str:
    return f"{value:.1f}"


def over_tasks(
    series: Sequence[Series],
    experiments: Sequence[str],
    choose: Callable[[Sequence[Series], str, str], Series | None] = better,
) -> str:
    """Return a Markdown table of each method's mean over several tasks, stratified, and of MILE against it.

    Args:
        series: All series.
        experiments: Names of experiments that are all judged by success.
        choose: Choice of the runs that stand for a method, `better` or `offline`.
    """
    lines = ["| method | mean [95 %] | IQM [95 %] | P(MILE better) [95 %] |", "|---|---|---|---|"]
    for method in figure_methods(series):
        # scores in each task, and pairs of MILE's and these at the same seeds
        scores, pairs = [], []
        for experiment in experiments:
            theirs = choose(series, experiment, method)
            if theirs and theirs.scores:
                scores.append(list(theirs.scores.values()))
            if pair := _paired(choose(series, experiment, OURS), theirs):
                pairs.append(pair)
        if len(scores) < len(experiments):
            lines.append(f"| {method} | missing | | |")
            continue

        wins = ""
        if len(pairs) == len(experiments) and method != OURS:
            wins = _interval(probability_of_improvement(*pairs))
        lines.append(f"| {method} | {_interval(mean(*scores))} | {_interval(middle(*scores))} | {wins} |")
    return "\n".join(lines) + "\n"


def _interval(estimate: Estimate) -> str:
    interval = "" if math.isnan(estimate.low) else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{interval}"


def demonstrations(variant: str) -> int | None:
    """Return how many demonstrations a variant has; None if it is another kind of variant."""
    if not variant:
        return 0
    count, _, rest = variant.partition(" ")
    return int(count) if rest == "demonstrations" else None
