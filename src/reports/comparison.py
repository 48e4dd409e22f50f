"""Methods side by side: final scores by seed, the better variant of each, and a table of all."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from mile.reports.intervals import Estimate, mean, middle, probability_of_improvement, standard_error
from mile.reports.runs import METHODS, SILENCE, Outcome

OURS = METHODS["MILE"]
INTERVALS = (
    "P(MILE better) is the share of pairs of runs with the same seed in which MILE's is better, a tie counting half. "
    "Its 95 % interval is Clopper and Pearson's, exact for a share; ties are losses for its lower end and wins for its "
    "upper end. Five pairs of five give [0.48, 1]. All other intervals are percentile bootstraps over seeds."
)
ROUNDS = ("", "restart")  # variants between which a method may choose: carried over, or from the start each round
SAME_DATA = "same data"


@dataclass(frozen=True)
class Series:
    """The finished runs of one experiment by one method in one variant.

    Attributes:
        experiment: its name.
        method: as figures show it.
        variant: see `Outcome`.
        scores: final score by seed.
        interventions: intervention steps by seed.
        curve: scores by round and seed; the final one is not among them.
        missing: seeds that other series of the experiment have.
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
        """As `Outcome.series`."""
        return self.experiment, self.method, self.variant

    @property
    def label(self) -> str:
        """Method and variant."""
        return self.method + (f" ({self.variant})" if self.variant else "")


def gather(outcomes: Iterable[Outcome]) -> list[Series]:
    """Sort outcomes into series, methods in the order of the figures."""
    grouped: defaultdict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    seeds: defaultdict[str, set[int]] = defaultdict(set)
    for outcome in outcomes:
        grouped[outcome.series].append(outcome)
        seeds[outcome.experiment].add(outcome.seed)
    series = []
    for (experiment, method, variant), members in grouped.items():
        ends = {it.seed: it for it in members if it.final and it.round}
        curve: defaultdict[int, dict[int, float]] = defaultdict(dict)
        for it in members:
            if not it.final or not it.round:
                curve[it.round][it.seed] = it.score
        series.append(
            Series(
                experiment,
                method,
                variant,
                {seed: ends[seed].score for seed in sorted(ends)},
                {seed: ends[seed].interventions for seed in sorted(ends)},
                {number: curve[number] for number in sorted(curve)},
                tuple(sorted(seeds[experiment] - ends.keys())),
            )
        )
    order = [*METHODS.values(), *sorted({it.method for it in series} - set(METHODS.values()))]
    return sorted(series, key=lambda it: (it.experiment, it.variant, order.index(it.method)))


def shown(series: Sequence[Series]) -> list[str]:
    """Return the methods of a figure, in order: the paper's, run or missing, and others that have been run."""
    run = dict.fromkeys(it.method for it in series)
    known = [name for name in METHODS.values() if name != SILENCE or name in run]
    return [*known, *(name for name in run if name not in known)]


def better(series: Sequence[Series], experiment: str, method: str) -> Series | None:
    """Return the variant of `ROUNDS` with the higher mean, of those with most seeds; None if the method was not run."""
    chosen = [it for it in series if (it.experiment, it.method) == (experiment, method) and it.variant in ROUNDS]
    return max(chosen, key=lambda it: (len(it.scores), fmean(it.scores.values() or [0])), default=None)


def offline(series: Sequence[Series], experiment: str, method: str) -> Series | None:
    """Return the runs that learnt from MILE's recordings: MILE's own with or without silence, others' `SAME_DATA`."""
    variants = ("", SAME_DATA) if method in (OURS, SILENCE) else (SAME_DATA,)
    chosen = [it for it in series if (it.experiment, it.method) == (experiment, method) and it.variant in variants]
    return chosen[-1] if chosen else None


def improvement(ours: Series | None, theirs: Series | None) -> Estimate | None:
    """Return how often ours is better at the seeds that both have; None if there are none."""
    pair = _paired(ours, theirs)
    return probability_of_improvement(pair) if pair else None


def _paired(ours: Series | None, theirs: Series | None) -> tuple[list[float], list[float]] | None:
    """Return both scores at the seeds that both have; None if there are none."""
    if ours is None or theirs is None or not (both := sorted(ours.scores.keys() & theirs.scores.keys())):
        return None
    return [ours.scores[seed] for seed in both], [theirs.scores[seed] for seed in both]


def markdown(series: Sequence[Series], outcomes: Sequence[Outcome]) -> str:
    """Return Markdown: a table for each experiment, and what is missing.

    "A point gained" are the steps with ν=1 for each point of success (%) or of return above the initial policy.
    """
    lines = []
    for experiment in dict.fromkeys(it.experiment for it in series):
        of = next(it for it in outcomes if it.experiment == experiment)
        start = next(it.score for it in outcomes if it.experiment == experiment and it.round == 0)
        number = _percent if of.metric == "success" else "{:.1f}".format
        mine = [it for it in series if it.experiment == experiment]
        lines += [
            f"## {experiment}",
            "",
            f"{of.metric.capitalize()}: initial policy {number(start)}, with interventions {number(of.helped)}, expert "
            f"{number(of.expert)}.",
            "",
            "| method | seeds | mean ± s.e. | 95 % | IQM | interventions | a point gained | P(MILE better) [95 %] |",
            "|---|---|---|---|---|---|---|---|",
            *(f"| {' | '.join(_row(it, _rival(it, mine), number, start))} |" for it in mine),
        ]
        absent = [name for name in shown(series) if name not in {it.method for it in mine}]
        if absent:
            lines += ["", f"Missing: {', '.join(absent)}."]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _rival(it: Series, mine: Sequence[Series]) -> Series | None:
    """Return the runs of MILE to compare with: in the same variant if there are any, plain ones for MILE itself."""
    ours = {our.variant: our for our in mine if our.method == OURS}
    return (None if it.method == OURS else ours.get(it.variant)) or ours.get("")


def _row(it: Series, rival: Series | None, number: Callable[[float], str], start: float) -> list[str]:
    scores = list(it.scores.values())
    estimate, several = mean(scores), len(scores) > 1
    wins = improvement(rival, it) if it is not rival else None
    spent = sum(it.interventions.values()) / len(it.interventions)
    gained = (estimate.value - start) * (100 if number is _percent else 1)
    return [
        it.label,
        f"{len(scores)}" + (f", missing {', '.join(map(str, it.missing))}" if it.missing else ""),
        number(estimate.value) + (f" ± {number(standard_error(scores))}" if several else ""),
        f"[{number(estimate.low)}, {number(estimate.high)}]" if several else "",
        number(middle(scores).value),
        f"{spent:.0f}",
        f"{spent / gained:.1f}" if gained > 0 else "no gain",
        _interval(wins) if wins else "",
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def left_out_section(left_out: Sequence[str]) -> str:
    """Return what a report leaves out as a section of Markdown, "" if it is nothing."""
    return "\n".join(["\n## Left out\n", *(f"* {line}" for line in left_out), ""]) if left_out else ""


def over_tasks(
    series: Sequence[Series],
    experiments: Sequence[str],
    choose: Callable[[Sequence[Series], str, str], Series | None] = better,
) -> str:
    """Return a Markdown table of each method's mean over several tasks, stratified, and of MILE against it.

    Args:
        series: all of them.
        experiments: judged by success alike.
        choose: which runs stand for a method, `better` or `offline`.
    """
    lines = ["| method | mean [95 %] | IQM [95 %] | P(MILE better) [95 %] |", "|---|---|---|---|"]
    for method in shown(series):
        chosen = [choose(series, experiment, method) for experiment in experiments]
        if not all(it and it.scores for it in chosen):
            lines.append(f"| {method} | missing | | |")
            continue
        found = [list(it.scores.values()) for it in chosen if it]
        ours = [choose(series, experiment, OURS) for experiment in experiments]
        pairs = [pair for pair in map(_paired, ours, chosen) if pair]
        wins = probability_of_improvement(*pairs) if len(pairs) == len(experiments) and method != OURS else None
        text = [_interval(mean(*found)), _interval(middle(*found)), _interval(wins) if wins else ""]
        lines.append(f"| {method} | {' | '.join(text)} |")
    return "\n".join(lines) + "\n"


def _interval(estimate: Estimate) -> str:
    interval = "" if math.isnan(estimate.low) else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{interval}"
