"""Methods side by side, as tables in Markdown."""

from collections.abc import Callable, Sequence
from statistics import fmean

from mile.reports.comparison import OURS, Series, better, figure_methods, improvement, paired, references
from mile.reports.intervals import Estimate, mean, middle, over_people, probability_of_improvement, standard_error
from mile.reports.outcomes import Outcome

INTERVALS = (
    "P(MILE better) is the share of pairs of runs with the same seed in which MILE's is better, a tie counting half. "
    "Its 95 % interval is Clopper and Pearson's, exact for a share; ties are losses for its lower end and wins for its "
    "upper end. Five pairs of five give [0.48, 1]. Intervals of gains and of human time are Student's; all others are "
    "percentile bootstraps over seeds or, where experts differ, Student's over the means of each expert."
)
COLUMNS = (
    *("method", "seeds", "mean ± s.e.", "95 %"),
    *("IQM", "interventions", "a point gained", "P(MILE better) [95 %]"),
)


def by_experiment(series: Sequence[Series], outcomes: Sequence[Outcome]) -> str:
    """Return Markdown: a table for each experiment, and what is missing.

    "A point gained" are the steps with ν=1 for each point of success (%) or of return above the initial policy.
    """
    lines = []
    for experiment in dict.fromkeys(runs.experiment for runs in series):
        # the policies to compare with
        metric, initial, helped, expert = references(outcomes, experiment)
        number = _percent if metric == "success" else _one_decimal
        lines += [
            f"## {experiment}",
            "",
            f"{metric.capitalize()}: initial policy {number(initial)}, with interventions {number(helped)}, expert "
            f"{number(expert)}.",
            "",
            *head(*COLUMNS),
        ]

        # methods
        contenders = [runs for runs in series if runs.experiment == experiment]
        missing = figure_methods(series)
        for runs in contenders:
            lines.append(line(*_row(runs, _rival(runs, contenders), number)))
            if runs.method in missing:
                missing.remove(runs.method)
        if missing:
            lines += ["", f"Missing: {', '.join(missing)}."]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


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


def _row(runs: Series, rival: Series | None, number: Callable[[float], str]) -> list[str]:
    """Return a line of the table, cell by cell.

    Args:
        runs: Series of the line.
        rival: Series of MILE to compare with.
        number: Format of a score.
    """
    scores = list(runs.scores.values())
    estimate, several = _mean_of(runs), len(scores) > 1

    # seeds
    seeds = f"{len(scores)}"
    if runs.missing:
        seeds += f", missing {', '.join(map(str, runs.missing))}"

    # what a point above the initial policy cost
    spent = sum(runs.interventions.values()) / len(runs.interventions)
    gained = fmean(scores) - fmean(runs.curve[0][seed] for seed in runs.scores)
    gained *= 100 if number is _percent else 1

    wins = improvement(rival, runs) if runs is not rival else None
    return [
        runs.label,
        seeds,
        number(estimate.value) + (f" ± {number(standard_error(scores))}" if several else ""),
        f"[{number(estimate.low)}, {number(estimate.high)}]" if several else "",
        number(middle(scores).value),
        f"{spent:.0f}",
        f"{spent / gained:.1f}" if gained > 0 else "no gain",
        f"{wins:.2f}" if wins else "",
    ]


def _mean_of(*tasks: Series) -> Estimate:
    """Return the mean over seeds and tasks; where people differ between seeds, with the interval over people."""
    by_person, scores = [], []
    for runs in tasks:
        by_person.append(runs.by_person)
        scores.append(list(runs.scores.values()))
    return mean(*scores) if max(map(len, by_person)) == 1 else over_people(*by_person)


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
    lines = head("method", "mean [95 %]", "IQM", "P(MILE better) [95 %]")
    for method in figure_methods(series):
        # runs of each task, and pairs of MILE's and these at the same seeds
        tasks, pairs = [], []
        for experiment in experiments:
            theirs = choose(series, experiment, method)
            if theirs and theirs.scores:
                tasks.append(theirs)
            if pair := paired(choose(series, experiment, OURS), theirs):
                pairs.append(pair)
        if len(tasks) < len(experiments):
            lines.append(line(method, "missing", "", ""))
            continue

        wins = ""
        if len(pairs) == len(experiments) and method != OURS:
            wins = f"{probability_of_improvement(*pairs):.2f}"
        interquartile = middle(*[list(runs.scores.values()) for runs in tasks]).value
        lines.append(line(method, f"{_mean_of(*tasks):.2f}", f"{interquartile:.2f}", wins))
    return "\n".join(lines) + "\n"


def head(*columns: str) -> list[str]:
    """Return the first two lines of a table."""
    return [line(*columns), f"|{'|'.join(['---'] * len(columns))}|"]


def line(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"
