"""The user study's Fig. 7 from the folders of its participants.

mile-report study outputs/user_study_iterative
"""

import io
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from mile.callbacks.study import read_answers
from mile.datamodules.recorded import open_recording
from mile.files import read_json, write_bytes, write_text
from mile.recordings.effort import Effort, effort
from mile.reports.comparison import left_out_section
from mile.reports.intervals import standard_error
from mile.reports.runs import words_of, write_csv

Content = TypeVar("Content")
ESTIMATORS = {"model": "MILE's model", "majority": "majority (never)", "network": "neural network"}
METRICS = ("accuracy", "balanced_accuracy", "auc", "brier")
DEPLOYED = ("steps", "interventions", "intervention_ratio", "mean_return", "success_rate")
COLUMNS = ("participant", "kind", "where", "name", "value")


class Participant(NamedTuple):
    """What one folder holds.

    Attributes:
        name: of the folder.
        predictions: metrics by round, estimator and name.
        answers: by form and field.
        deployed: outcome of each round's episodes, by name.
        effort: of each round.
        gain: success rate of the learnt policy minus that of the initial one; None: not finished.
    """

    name: str
    predictions: dict[int, dict[str, dict[str, float]]]
    answers: dict[str, dict[str, Any]]
    deployed: dict[int, dict[str, float]]
    effort: dict[int, Effort]
    gain: float | None


def read_participants(source: Path) -> tuple[list[Participant], list[str]]:
    """Read the folder of each participant of a study, by name.

    Returns:
        The participants, and a line for each who is left out because a file is damaged.

    Raises:
        ValueError: Nobody is there, or nobody can be read.
    """
    participants: list[Participant] = []
    left_out: list[str] = []
    for path in sorted(source.rglob("predictions.json"), key=lambda path: (len(str(path)), path)):
        try:
            participants.append(_read_participant(path.parent))
        except Exception as error:  # whatever is in a folder, it holds up nobody else
            left_out.append(f"participant '{path.parent}': {words_of(error)}")
    if not participants:
        reason = f"that can be read ({left_out[0]})" if left_out else "(with a predictions.json); give that of a study"
        raise ValueError(f"'{source}' holds no participant's folder {reason}")
    return participants, left_out


def _read_participant(folder: Path) -> Participant:
    deployed: dict[int, dict[str, float]] = {}
    if (folder / "deployment.json").exists():
        deployed = _read(folder / "deployment.json", _deployments)
    gain = _read(folder / "results.json", _gain) if (folder / "results.json").exists() else None
    steps = open_recording(folder).steps
    return Participant(
        name=folder.name,
        predictions=_read(folder / "predictions.json", _predictions),
        answers=read_answers(folder / "answers.jsonl"),
        deployed=deployed,
        effort={int(number): effort(steps[steps["round"] == number]) for number in steps["round"].unique()},
        gain=gain,
    )


def _read(path: Path, take: Callable[[Any], Content]) -> Content:
    """Return what is taken from a JSON file.

    Raises:
        ValueError: The file is damaged, or holds something else.
    """
    content = read_json(path)
    try:
        return take(content)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"'{path}' is damaged ({error!r}); restore it from a copy, or remove it") from None


def _predictions(content: Any) -> dict[int, dict[str, dict[str, float]]]:
    if not content:
        raise ValueError("no round is in it")
    rounds: dict[int, dict[str, dict[str, float]]] = {}
    for number, estimators in content.items():
        rounds[int(number)] = {}
        for estimator, metrics in estimators.items():
            rounds[int(number)][estimator] = {name: float(value) for name, value in metrics.items()}
    return rounds


def _deployments(content: Any) -> dict[int, dict[str, float]]:
    rounds = {}
    for number, outcome in content.items():
        rounds[int(number)] = {name: outcome[name] for name in DEPLOYED}
    return rounds


def _gain(content: Any) -> float:
    return content["learnt policy"]["success_rate"] - content["initial policy"]["success_rate"]


def rows(participants: Sequence[Participant]) -> Iterator[dict[str, Any]]:
    """Yield every number and word of the study, one a row: participant, kind, where, name, value."""
    for it in participants:
        for number, estimators in it.predictions.items():
            for estimator, metrics in estimators.items():
                for name, value in metrics.items():
                    yield _row(it, "prediction", f"round {number + 1}", f"{estimator} {name}", value)
        for number, done in it.effort.items():
            for name, value in done._asdict().items():
                yield _row(it, "effort", f"round {number + 1}", name, value)
        for number, outcome in it.deployed.items():
            for name, value in outcome.items():
                yield _row(it, "deployment", f"round {number + 1}", name, value)
        for form, answers in it.answers.items():
            for name, value in answers.items():
                yield _row(it, "answer", form, name, value)


def _row(it: Participant, kind: str, where: str, name: str, value: Any) -> dict[str, Any]:
    return dict(zip(COLUMNS, (it.name, kind, where, name, value), strict=True))


def by_round(participants: Sequence[Participant], estimator: str, metric: str) -> dict[int, list[float]]:
    """Return a metric of an estimator, by round, of those participants in whom it is known."""
    values: dict[int, list[float]] = defaultdict(list)
    for it in participants:
        for number, estimators in it.predictions.items():
            if metric in estimators.get(estimator, {}):
                values[number].append(estimators[estimator][metric])
    return dict(sorted(values.items()))


def ratings(participants: Sequence[Participant]) -> dict[str, list[float]]:
    """Return all answers that are numbers, by form and field."""
    values: dict[str, list[float]] = defaultdict(list)
    for it in participants:
        for form, answers in it.answers.items():
            for name, value in answers.items():
                if isinstance(value, int):
                    values[f"{form}: {name}"].append(value)
    return dict(values)


def figure(participants: Sequence[Participant]) -> Figure:
    """Draw Fig. 7: accuracy of predicting each round's interventions, and the ratings, mean ± s.e."""
    rated = {name: it for name, it in ratings(participants).items() if max(it) <= 10}  # not the TLX's percentages
    drawing = Figure(figsize=(9 if rated else 5, 3.4), layout="constrained")
    axes = drawing.subplots(1, 2 if rated else 1, squeeze=False)[0]
    for estimator, label in ESTIMATORS.items():
        values = by_round(participants, estimator, "accuracy")
        means, errors = [np.mean(it) for it in values.values()], [standard_error(it) for it in values.values()]
        axes[0].errorbar([number + 1 for number in values], means, yerr=errors, marker="o", capsize=3, label=label)
    axes[0].set(xlabel="round", ylabel="accuracy", title="predicting the interventions", ylim=(0, 1))
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(fontsize=8)
    if rated:
        names = list(rated)
        means = [np.mean(rated[name]) for name in names]
        axes[1].barh(names, means, xerr=[standard_error(rated[name]) for name in names], capsize=3)
        axes[1].invert_yaxis()
        axes[1].set(title="ratings")
        axes[1].tick_params(labelsize=7)
    return drawing


def summary(participants: Sequence[Participant]) -> str:
    """Return the study as Markdown.

    Each estimator's metrics, mean ± s.e. over participants, in rounds 2 and later if there are some; each participant's
    effort; ratings.
    """
    lines = [f"# User study: {len(participants)} participants", ""]
    lines += ["| estimator | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 1) + "|"]
    rounds = max(max(it.predictions) for it in participants)
    for estimator, label in ESTIMATORS.items():
        cells = []
        for metric in METRICS:
            own = [by_round([it], estimator, metric) for it in participants]
            kept = [[np.mean(it) for number, it in one.items() if number or not rounds] for one in own]
            means = [np.mean(it) for it in kept if it]
            cells.append(f"{np.mean(means):.3f} ± {standard_error(means):.3f}" if means else "–")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", "| participant | s in control | takeovers | steps each | gain in success | s for each point |"]
    lines += ["|---" * 6 + "|"]
    for it in participants:
        seconds, takeovers = (
            sum(getattr(one, name) for one in it.effort.values()) for name in ("seconds", "takeovers")
        )
        steps = sum(one.takeovers * one.takeover_length for one in it.effort.values())
        gain = "–" if it.gain is None else f"{100 * it.gain:.0f}"
        each = f"{seconds / (100 * it.gain):.1f}" if it.gain and it.gain > 0 else "–"
        lines.append(f"| {it.name} | {seconds:.0f} | {takeovers} | {steps / max(takeovers, 1):.1f} | {gain} | {each} |")
    rated = ratings(participants)
    if rated:
        lines += ["", "| rating | mean ± s.e. | answers |", "|---|---|---|"]
        lines += [
            f"| {name} | {np.mean(it):.2f} ± {standard_error(it):.2f} | {len(it)} |" for name, it in rated.items()
        ]
    return "\n".join(lines) + "\n"


@rc_context({"text.parse_math": False})  # names are no formulas
def study(source: Path, folder: Path) -> list[Path]:
    """Write `study.md`, `study.csv` and Fig. 7 as PNG and SVG; return the files.

    A participant who is left out is named in `study.md`, and on stderr.
    """
    participants, left_out = read_participants(source)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)

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
