"""The paper's Fig. 3, 4 and 5 and the gain of all methods, from finished runs."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mile.reports.comparison import (
    OURS,
    ROUNDS,
    SAME_DATA,
    Series,
    better,
    demonstrations,
    figure_methods,
    offline,
    references,
)
from mile.reports.intervals import mean, standard_error
from mile.reports.outcomes import METHODS, MILE_WITH_SILENCE, Outcome
from mile.reports.verdict import Standing


class Colors(dict[str, str]):
    """Colours of methods by name; all unknown ones share one, and are not added."""

    def __missing__(self, method: str) -> str:
        """Return the colour of unknown methods."""
        return "C8"


COLORS = Colors(zip(METHODS.values(), ("C3", "C6", "C0", "C2", "C1", "C4", "C7"), strict=True))


def bars(series: Sequence[Series], outcomes: Sequence[Outcome], experiments: Sequence[str]) -> Figure:
    """Draw final scores by method, mean ± s.e. with every seed as a dot (Fig. 3), and name what is missing.

    Each method has the better of its variants, carried over or restarted.
    """
    return _bars(outcomes, experiments, figure_methods(series, ROUNDS), partial(better, series))


def same_data_bars(series: Sequence[Series], outcomes: Sequence[Outcome], experiments: Sequence[str]) -> Figure:
    """Draw final scores of methods that learnt offline from MILE's recordings."""
    return _bars(outcomes, experiments, figure_methods(series, [SAME_DATA]), partial(offline, series))


def _bars(
    outcomes: Sequence[Outcome],
    experiments: Sequence[str],
    methods: Sequence[str],
    choose: Callable[[str, str], Series | None],
) -> Figure:
    figure = Figure(figsize=(3.2 * len(experiments), 3.2), layout="constrained")
    for axes, experiment in zip(figure.subplots(1, len(experiments), squeeze=False).flat, experiments, strict=True):
        for place, method in enumerate(methods):
            _bar(axes, place, method, choose(experiment, method))
        axes.set_xticks(range(len(methods)), methods, rotation=40, ha="right")
        axes.set_xlim(-0.6, len(methods) - 0.4)
        _finish(axes, outcomes, experiment)
    return figure


def _bar(axes: Axes, place: int, method: str, runs: Series | None) -> None:
    """Draw the bar of a method, and each of its seeds as a dot."""
    if runs is None or not runs.scores:
        axes.text(place, 0, " missing", rotation=90, ha="center", va="bottom", color="0.5")
        return
    scores = list(runs.scores.values())
    value, error = mean(scores).value, standard_error(scores) if len(scores) > 1 else None
    axes.bar(place, value, yerr=error, color=COLORS[method], capsize=3)
    axes.scatter([place] * len(scores), scores, s=6, color="black", zorder=3, alpha=0.6)
    if runs.missing:
        axes.text(place, value, f"{len(runs.missing)} missing", ha="center", va="bottom", fontsize=6)


def gains(standings: Sequence[Standing], experiments: Sequence[str]) -> Figure:
    """Draw each method's gain over all experiments with its 95 % interval, and a mark for each experiment alone."""
    figure = Figure(figsize=(7, 0.32 * len(standings) + 1.4), layout="constrained")
    axes = figure.subplots()
    places = range(len(standings))
    for place, row in zip(places, standings, strict=True):
        axes.barh(place, row.gain.value, color=COLORS[row.method], alpha=0.5)
        axes.hlines(place, row.gain.low, row.gain.high, color="black")
    for number, (experiment, marker) in enumerate(zip(experiments, cycle("ovsDP*X"))):
        alone = [row.alone[number].value for row in standings]
        axes.plot(alone, places, marker, color="black", markersize=4, alpha=0.7, label=experiment)

    axes.axvline(1.0, color="0.5", linestyle=":")
    axes.set_yticks(places, [f"{row.method} ({row.beds})" for row in standings], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("gain: 0 is the initial policy, 1 the expert (in brackets: test beds)")
    figure.legend(fontsize=8, loc="outside upper center", ncols=4)
    return figure


def curves(series: Sequence[Series], outcomes: Sequence[Outcome], experiments: Sequence[str]) -> Figure:
    """Draw scores by round, mean ± s.e. over seeds (Fig. 4), and below them what they cost the human until then."""
    figure = Figure(figsize=(5 * len(experiments), 5.5), layout="constrained")
    places = figure.subplots(2, len(experiments), squeeze=False, sharex="col", height_ratios=(2, 1)).T
    for (axes, below), experiment in zip(places, experiments, strict=True):
        for method in figure_methods(series, ROUNDS):
            runs = better(series, experiment, method)
            if runs is None or not runs.scores:
                axes.plot([], [], color=COLORS[method], linestyle=":", label=f"{method}: missing")
                continue
            _curve(axes, runs)
            below.plot(list(runs.curve), _interventions_by_round(runs, outcomes), color=COLORS[method])

        below.set(xlabel="round", ylabel="steps with ν=1 so far")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(axes, outcomes, experiment)
        axes.legend(fontsize=7)
    return figure


def _curve(axes: Axes, runs: Series) -> None:
    """Draw the scores of some runs by round, and their standard error as a band."""
    color, rounds = COLORS[runs.method], list(runs.curve)
    means, errors = _means_and_errors(map(dict.values, runs.curve.values()))
    label = runs.label
    if runs.missing:
        label += f", {len(runs.missing)} seeds missing"
    axes.plot(rounds, means, color=color, marker="o", markersize=3, label=label)

    low, high = np.subtract(means, errors), np.add(means, errors)
    axes.fill_between(rounds, low, high, color=color, alpha=0.15, linewidth=0)


def _interventions_by_round(runs: Series, outcomes: Sequence[Outcome]) -> list[float]:
    """Return the mean number of steps with ν=1 until each round of some runs' curve."""
    means = []
    for round_ in runs.curve:
        counts = []
        for outcome in outcomes:
            if outcome.series == runs.series and outcome.round == round_:
                counts.append(outcome.interventions)
        means.append(sum(counts) / len(counts))
    return means


def ablation(series: Sequence[Series], outcomes: Sequence[Outcome], experiment: str) -> Figure:
    """Draw final scores by the number of demonstrations that the data began with, mean ± s.e. (Fig. 5)."""
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    counted = [runs.variant for runs in series if demonstrations(runs.variant)]
    for method in figure_methods(series, counted):
        points = _scores_by_demonstrations(series, experiment, method)
        if not points:
            axes.plot([], [], color=COLORS[method], linestyle=":", label=f"{method}: missing")
            continue

        counts, scores = zip(*points, strict=True)
        means, errors = _means_and_errors(scores)
        ours = method in (OURS, MILE_WITH_SILENCE)
        axes.errorbar(
            counts,
            means,
            errors,
            color=COLORS[method],
            marker="o",
            capsize=3,
            ls="--" if ours else "-",
            label=method,
        )
        if ours:  # MILE has no use for demonstrations
            axes.axhline(means[0], color=COLORS[method], linestyle="--", linewidth=1)

    axes.set_xlabel("demonstrations")
    _finish(axes, outcomes, experiment)
    axes.legend(fontsize=7)
    return figure


def _scores_by_demonstrations(series: Sequence[Series], experiment: str, method: str) -> list[tuple[int, list[float]]]:
    """Return the numbers of demonstrations that a method had, in order, each with the final scores of all seeds."""
    points = []
    for runs in series:
        count = demonstrations(runs.variant)
        if runs.experiment == experiment and runs.method == method and runs.scores and count is not None:
            points.append((count, list(runs.scores.values())))
    return sorted(points)


def _means_and_errors(groups: Iterable[Iterable[float]]) -> tuple[list[float], list[float]]:
    """Return the mean of each group of scores `[seeds]`, and its standard error, 0 for a single seed."""
    means, errors = [], []
    for group in groups:
        scores = list(group)
        means.append(mean(scores).value)
        errors.append(standard_error(scores) if len(scores) > 1 else 0.0)
    return means, errors


def _finish(axes: Axes, outcomes: Sequence[Outcome], experiment: str) -> None:
    """Draw the reference lines of an experiment, and write title and label."""
    metric, initial, helped, _ = references(outcomes, experiment)
    for value, style, label in ((initial, "--", "initial"), (helped, ":", "with interventions")):
        axes.axhline(value, color="0.4", linestyle=style, linewidth=1, label=label)

    # "success" is a rate, of which 1 is the best
    if metric == "success":
        axes.set(title=experiment, ylabel="success rate", ylim=(0, 1.02))
    else:
        axes.set(title=experiment, ylabel="return")
