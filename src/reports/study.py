"""The user study's Fig. 7 from the folders of its participants.

mile-report study outputs/user_study_iterative
"""

import io
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mile.files import write_bytes, write_text
from mile.reports.csv_tables import write_csv
from mile.reports.intervals import standard_error
from mile.reports.left_out import left_out_section, print_left_out
from mile.reports.markdown import head, line
from mile.reports.participants import Participant, read_participants

ESTIMATORS = {
    "model": "MILE's model",
    "majority": "majority (never)",
    "network": "neural network",
    "history": "neural network with history",
    "before": "as one step earlier",
}
METRICS = ("accuracy", "balanced_accuracy", "auc", "brier")
COLUMNS = ("participant", "kind", "where", "name", "value")
MAX_RATING = 10  # answers beyond it are percentages (NASA-TLX)


@rc_context({"text.parse_math": False})  # names are no formulas
def study(sources: Iterable[Path], folder: Path) -> list[Path]:
    """Write `study.md`, `study.csv` and Fig. 7 as PNG and SVG; return the files.

    A participant who is left out is named in `study.md`, and on stderr.

    Args:
        sources: Folders of the study's participants, at any depth.
        folder: Folder of the report.

    Raises:
        ValueError: There is nobody to report.
    """
    participants, left_out = read_participants(sources)
    print_left_out(left_out)

    folder.mkdir(parents=True, exist_ok=True)
    drawing = figure(participants)
    written = [folder / "study.md", folder / "study.csv", folder / "fig7.png", folder / "fig7.svg"]
    write_text(written[0], summary(participants) + left_out_section(left_out))
    write_csv(written[1], COLUMNS, rows(participants))
    for path in written[2:]:
        content = io.BytesIO()
        drawing.savefig(content, format=path.suffix[1:], dpi=150)
        write_bytes(path, content.getvalue())
    return written


def rows(participants: Iterable[Participant]) -> Iterator[dict[str, Any]]:
    """Yield every number and word of the study, one a row: participant, kind, where, name, value."""
    for participant in participants:
        for cells in _cells(participant):
            yield dict(zip(COLUMNS, (participant.name, *cells), strict=True))


def _cells(participant: Participant) -> Iterator[tuple[str, str, str, Any]]:
    """Yield kind, where, name and value of every number and word of a participant."""
    for number, estimators in participant.predictions.items():
        for estimator, metrics in estimators.items():
            for name, value in metrics.items():
                yield "prediction", f"round {number + 1}", f"{estimator} {name}", value
    for number, effort in participant.effort.items():
        for name, value in effort._asdict().items():
            yield "effort", f"round {number + 1}", name, value
    for number, outcome in participant.deployed.items():
        for name, value in outcome.items():
            yield "deployment", f"round {number + 1}", name, value
    for form, answers in participant.answers.items():
        for name, value in answers.items():
            yield "answer", form, name, value
    for name, numbers in participant.human.items():
        for what, value in zip(("estimate", "low", "high"), numbers, strict=True):
            yield "human", name, what, value


def metric_by_round(participants: Iterable[Participant], estimator: str, metric: str) -> dict[int, list[float]]:
    """Return a metric of an estimator, by round, of those participants in whom it is known."""
    values: dict[int, list[float]] = defaultdict(list)
    for participant in participants:
        for number, estimators in participant.predictions.items():
            if metric in estimators.get(estimator, {}):
                values[number].append(estimators[estimator][metric])
    return dict(sorted(values.items()))


def ratings(participants: Iterable[Participant]) -> dict[str, list[float]]:
    """Return all answers that are numbers, by form and field."""
    values: dict[str, list[float]] = defaultdict(list)
    for participant in participants:
        for form, answers in participant.answers.items():
            for name, value in answers.items():
                if isinstance(value, int):
                    values[f"{form}: {name}"].append(value)
    return dict(values)


# the figure


def figure(participants: Sequence[Participant]) -> Figure:
    """Draw Fig. 7: accuracy of predicting each round's interventions, and the ratings, mean ± s.e."""
    rated = {name: values for name, values in ratings(participants).items() if max(values) <= MAX_RATING}
    drawing = Figure(figsize=(9 if rated else 5, 3.4), layout="constrained")
    axes = drawing.subplots(1, 2 if rated else 1, squeeze=False)[0]
    _draw_accuracy(axes[0], participants)
    if rated:
        _draw_ratings(axes[1], rated)
    return drawing


def _draw_accuracy(axes: Axes, participants: Sequence[Participant]) -> None:
    for estimator, label in ESTIMATORS.items():
        values = metric_by_round(participants, estimator, "accuracy")
        rounds = [number + 1 for number in values]
        means, errors = _means_and_errors(values.values())
        axes.errorbar(rounds, means, yerr=errors, marker="o", capsize=3, label=label)
    axes.set(xlabel="round", ylabel="accuracy", title="predicting the interventions", ylim=(0, 1))
    locator: Any = axes.xaxis.get_major_locator()
    locator.set_params(integer=True)
    axes.legend(fontsize=8)


def _draw_ratings(axes: Axes, rated: dict[str, list[float]]) -> None:
    means, errors = _means_and_errors(rated.values())
    axes.barh(list(rated), means, xerr=errors, capsize=3)
    axes.invert_yaxis()
    axes.set(title="ratings")
    axes.tick_params(labelsize=7)


def _means_and_errors(groups: Iterable[Sequence[float]]) -> tuple[list[Any], list[float]]:
    """Return the mean of each group of values, and its standard error."""
    means, errors = [], []
    for values in groups:
        means.append(np.mean(values))
        errors.append(standard_error(values))
    return means, errors


# the text


def summary(participants: Sequence[Participant]) -> str:
    """Return the study as Markdown.

    Each estimator's metrics, mean ± s.e. over participants, in rounds 2 and later if there are some; each participant's
    effort; what was learnt of them; ratings.
    """
    lines = [f"# User study: {len(participants)} participants", ""]

    # estimators
    lines += [f"| estimator | {' | '.join(METRICS)} |", "|---|---|---|---|---|"]
    for estimator, label in ESTIMATORS.items():
        cells = [_metric_cell(participants, estimator, metric) for metric in METRICS]
        lines.append(f"| {label} | {' | '.join(cells)} |")

    # effort
    lines += ["", "| participant | s in control | takeovers | steps each | gain in success | s for each point |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += map(_effort_line, participants)

    lines += _human_lines(participants)

    # ratings
    rated = ratings(participants)
    if rated:
        lines += ["", "| rating | mean ± s.e. | answers |", "|---|---|---|"]
    for name, values in rated.items():
        lines.append(f"| {name} | {np.mean(values):.2f} ± {standard_error(values):.2f} | {len(values)} |")
    return "\n".join(lines) + "\n"


def _metric_cell(participants: Sequence[Participant], estimator: str, metric: str) -> str:
    """Return the mean ± s.e. over participants of each one's mean over rounds: all but the first, if there are more."""
    several = any(max(participant.predictions) > 0 for participant in participants)
    means = []
    for participant in participants:
        round_means = []
        for number, values in metric_by_round([participant], estimator, metric).items():
            if number > 0 or not several:
                round_means.append(np.mean(values))
        if round_means:
            means.append(np.mean(round_means))
    return f"{np.mean(means):.3f} ± {standard_error(means):.3f}" if means else "–"


def _human_lines(participants: Sequence[Participant]) -> list[str]:
    """Return a table of what was learnt of each participant; none if nothing was."""
    known = [participant for participant in participants if participant.human]
    if not known:
        return []
    names: dict[str, None] = {}  # each once, in order
    for participant in known:
        names |= dict.fromkeys(participant.human)

    lines = ["", "Learnt from when each participant took over (nats; delays in steps), with 95 % intervals:", ""]
    heads = ["participant", *(name.replace("_", " ") for name in names)]
    lines += head(*heads)
    for participant in known:
        cells = [_estimate_cell(participant.human.get(name)) for name in names]
        lines.append(line(participant.name, *cells))
    return lines


def _estimate_cell(numbers: tuple[float, float, float] | None) -> str:
    """Return an estimate with the ends of its interval; a parameter that was held has none."""
    if numbers is None:
        return "–"
    estimate, low, high = numbers
    if low == high:
        return f"{estimate:.2f} (held)"
    below = "−∞" if low == -math.inf else f"{low:.2f}"
    above = "∞" if high == math.inf else f"{high:.2f}"
    return f"{estimate:.2f} ({below} to {above})"


def _effort_line(participant: Participant) -> str:
    """Return the line of a participant: effort, and what it brought."""
    seconds, takeovers, steps = 0.0, 0, 0.0
    for effort in participant.effort.values():
        seconds += effort.seconds
        takeovers += effort.takeovers
        steps += effort.takeovers * effort.takeover_length

    gain = each_point = "–"
    if participant.gain is not None:
        gain = f"{100 * participant.gain:.0f}"
        if participant.gain > 0:
            each_point = f"{seconds / (100 * participant.gain):.1f}"
    steps_each = f"{steps / max(takeovers, 1):.1f}"
    return f"| {participant.name} | {seconds:.0f} | {takeovers} | {steps_each} | {gain} | {each_point} |"
