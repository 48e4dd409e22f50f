"""The paper's Fig. 3, 4 and 5 from finished runs."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mile.reports.comparison import OURS, Series, better, offline, shown
from mile.reports.intervals import mean, standard_error
from mile.reports.runs import METHODS, SILENCE, Outcome

COLORS = defaultdict(lambda: "C8", zip(METHODS.values(), ("C3", "C6", "C0", "C2", "C1", "C4", "C7"), strict=True))


def bars(series: Sequence[Series], outcomes: Sequence[Outcome], experiments: Sequence[str]) -> Figure:
    """Draw final scores by method, mean ± s.e. with every seed as a dot (Fig. 3); what is missing is said.

    Each method has the better of its variants, carried over or restarted.
    """
    return _bars(outcomes, experiments, shown(series), partial(better, series))


def same_data_bars(series: Sequence[Series], outcomes: Sequence[Outcome], experiments: Sequence[str]) -> Figure:
    """Draw final scores of methods that learnt offline from MILE's recordings."""
    return _bars(outcomes, experiments, shown(series), partial(offline, series))


def _bars(
    outcomes: Sequence[Outcome],
    experiments: Sequence[str],
    methods: Sequence[str],
    choose: Callable[[str, str], Series | None],
) -> Figure:
    figure = Figure(figsize=(3.2 * len(experiments), 3.2), layout="constrained")
    for axes, experiment in zip(figure.subplots(1, len(experiments), squeeze=False).flat, experiments, strict=True):
        for place, method in enumerate(methods):
            it = choose(experiment, method)
            if it is None or not it.scores:
                axes.text(place, 0, " missing", rotation=90, ha="center", va="bottom", color="0.5")
                continue
            scores = list(it.scores.values())
            value, error = mean(scores).value, standard_error(scores) if len(scores) > 1 else None
            axes.bar(place, value, yerr=error, color=COLORS[method], capsize=3)
            axes.scatter([place] * len(scores), scores, s=6, color="black", zorder=3, alpha=0.6)
            if it.missing:
                axes.text(place, value, f"{len(it.missing)} missing", ha="center", va="bottom", fontsize=6)
        axes.set_xticks(range(len(methods)), methods, rotation=40, ha="right")
        axes.set_xlim(-0.6, len(methods) - 0.4)
        _finish(axes, outcomes, experiment)
    return figure


def curves(series: Sequence[Series], outcomes: Sequence[Outcome], experiments: Sequence[str]) -> Figure:
    """Draw scores by round, mean ± s.e. over seeds (Fig. 4), and below them what they cost the human until then."""
    figure = Figure(figsize=(5 * len(experiments), 5.5), layout="constrained")
    places = figure.subplots(2, len(experiments), squeeze=False, sharex="col", height_ratios=(2, 1)).T
    for (axes, below), experiment in zip(places, experiments, strict=True):
        for method in shown(series):
            it = better(series, experiment, method)
            if it is None or not it.scores:
                axes.plot([], [], color=COLORS[method], linestyle=":", label=f"{method}: missing")
                continue
            rounds = list(it.curve)
            values = [list(it.curve[number].values()) for number in rounds]
            means = [mean(scores).value for scores in values]
            errors = [standard_error(scores) if len(scores) > 1 else 0.0 for scores in values]
            label = it.label + (f", {len(it.missing)} seeds missing" if it.missing else "")
            axes.plot(rounds, means, color=COLORS[method], marker="o", markersize=3, label=label)
            low, high = ([value + sign * error for value, error in zip(means, errors, strict=True)] for sign in (-1, 1))
            axes.fill_between(rounds, low, high, color=COLORS[method], alpha=0.15, linewidth=0)
            spent = [[o.interventions for o in outcomes if (*o.series, o.round) == (*it.series, n)] for n in rounds]
            below.plot(rounds, [sum(each) / len(each) for each in spent], color=COLORS[method])
        below.set(xlabel="round", ylabel="steps with ν=1 so far")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(axes, outcomes, experiment)
        axes.legend(fontsize=7)
    return figure


def ablation(series: Sequence[Series], outcomes: Sequence[Outcome], experiment: str) -> Figure:
    """Draw final scores by the number of demonstrations that the data began with, mean ± s.e. (Fig. 5)."""
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for method in shown(series):
        mine = [it for it in series if (it.experiment, it.method) == (experiment, method) and it.scores]
        counts = [(demonstrations(it.variant), list(it.scores.values())) for it in mine]
        points = sorted((count, scores) for count, scores in counts if count is not None)
        if not points:
            axes.plot([], [], color=COLORS[method], linestyle=":", label=f"{method}: missing")
            continue
        means = [mean(scores).value for _, scores in points]
        errors = [standard_error(scores) if len(scores) > 1 else 0.0 for _, scores in points]
        style = "--" if method in (OURS, SILENCE) else "-"
        axes.errorbar(
            [count for count, _ in points],
            means,
            errors,
            color=COLORS[method],
            marker="o",
            capsize=3,
            ls=style,
            label=method,
        )
        if method in (OURS, SILENCE):  # it has no use for them
            axes.axhline(means[0], color=COLORS[method], linestyle="--", linewidth=1)
    axes.set_xlabel("demonstrations")
    _finish(axes, outcomes, experiment)
    axes.legend(fontsize=7)
    return figure


def demonstrations(variant: str) -> int | None:
    """Return how many demonstrations a variant has; None if it is another kind of variant."""
    if not variant:
        return 0
    count, _, rest = variant.partition(" ")
    return int(count) if rest == "demonstrations" else None


def _finish(axes: Axes, outcomes: Sequence[Outcome], experiment: str) -> None:
    runs = [it for it in outcomes if it.experiment == experiment]
    start = next(it.score for it in runs if it.round == 0)
    for value, style, label in ((start, "--", "initial"), (runs[0].helped, ":", "with interventions")):
        axes.axhline(value, color="0.4", linestyle=style, linewidth=1, label=label)
    axes.set(title=experiment, ylabel={"success": "success rate", "return": "return"}[runs[0].metric])
    if runs[0].metric == "success":
        axes.set_ylim(0, 1.02)
