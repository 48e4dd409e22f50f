"""Methods side by side, as tables in Markdown."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean

from mile.reports.comparison import OURS, Series, better, figure_methods, improvement, initial_score, paired
from mile.reports.intervals import Estimate, mean, middle, over_people, probability_of_improvement, standard_error
from mile.reports.outcomes import Outcome

INTERVALS = (
    "P(MILE better) is the share of pairs of runs with the same seed in which MILE's is better, a tie counting half. "
    "Its 95 % interval is Clopper and Pearson's, exact for a share; ties are losses for its lower end and wins for its "
    "upper end. Five pairs of five give [0.48, 1]. All other intervals are percentile bootstraps over seeds; where "
    "experts differ between seeds, Student's t over the means of each expert."
)
HEADER = (
    "| method | seeds | mean ± s.e. | 95 % | IQM | interventions | a point gained | P(MILE better) [95 %] |",
    "|---|---|---|---|---|---|---|---|",
)


def by_experiment(series: Sequence[Series], outcomes: Sequence[Outcome]) -> str:
    """Return Markdown: a table for each experiment, and what is missing.

    "A point gained" are the steps with ν=1 for each point of success (%) or of return above the initial policy.
    """
    lines = []
    for experiment in dict.fromkeys(runs.experiment for runs in series):
        # the policies to compare with
        metric, initial, helped, expert = _references(outcomes, experiment)
        number = _percent if metric == "success" else _one_decimal
        lines += [
            f"## {experiment}",
            "",
            f"{metric.capitalize()}: initial policy {number(initial)}, with interventions {number(helped)}, expert "
            f"{number(expert)}.",
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


def _references(outcomes: Sequence[Outcome], experiment: str) -> tuple[str, float, float, float]:
    """Return the metric of an experiment, and the scores of initial policy, helped episodes and expert."""
    helped: dict[str, list[float]] = {}
    experts: list[float] = []
    metric = ""
    for outcome in outcomes:
        if outcome.experiment == experiment and outcome.round == 0:
            metric = outcome.metric
            helped.setdefault(outcome.variant, []).append(outcome.helped)
            experts.append(outcome.expert)

    # another variant may have another human
    plain = helped.get("") or next(iter(helped.values()))
    return metric, initial_score(outcomes, experiment), fmean(plain), fmean(experts)


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
    estimate, several = _mean_of(runs), len(scores) > 1

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


def _mean_of(runs: Series) -> Estimate:
    """Return the mean over seeds; where people differ between seeds, with the interval over people."""
    by_person: defaultdict[str, list[float]] = defaultdict(list)
    for seed, score in runs.scores.items():
        by_person[runs.people[seed]].append(score)
    if len(by_person) == 1:
        return mean(list(runs.scores.values()))
    return over_people(by_person)


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
            if pair := paired(choose(series, experiment, OURS), theirs):
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
