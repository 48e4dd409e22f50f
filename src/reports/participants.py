"""The folders of a user study's participants."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mile.callbacks.human import Estimates, read_human
from mile.callbacks.study import read_answers
from mile.datamodules.recorded import open_recording
from mile.files import damaged, read_json
from mile.recordings.effort import Effort, effort
from mile.reports.left_out import words_of

Content = TypeVar("Content")
DEPLOYMENT_METRICS = ("steps", "interventions", "intervention_ratio", "mean_return", "success_rate")


class Participant(NamedTuple):
    """The content of one participant's folder.

    Attributes:
        name: Name of the folder.
        predictions: Metrics by round, estimator and name.
        answers: Answers by form and field.
        deployed: Outcome of each round's episodes, by name.
        effort: Effort in each round.
        gain: Success rate of the learnt policy minus that of the initial one; None if the run has not finished.
        human: Estimate and ends of the 95 % interval of each of the participant's parameters, by name; empty if the run
            did not learn them.
    """

    name: str
    predictions: dict[int, dict[str, dict[str, float]]]
    answers: dict[str, dict[str, Any]]
    deployed: dict[int, dict[str, float]]
    effort: dict[int, Effort]
    gain: float | None
    human: Estimates


def read_participants(sources: Iterable[Path]) -> tuple[list[Participant], list[str]]:
    """Read the folder of each participant of a study, by name.

    Args:
        sources: Folders of studies, or of participants; searched at any depth.

    Returns:
        The participants, and a line for each who is left out because a file is damaged.

    Raises:
        ValueError: A folder holds no participant, or none can be read.
    """
    folders: dict[Path, None] = {}  # each once, in order
    for source in sources:
        inside = sorted(source.rglob("predictions.json"), key=lambda path: (len(str(path)), path))
        if not inside:
            raise ValueError(
                f"'{source}' holds no participant's folder (with a predictions.json); give that of a study"
            )
        for path in inside:
            folders[path.parent] = None

    participants: list[Participant] = []
    left_out: list[str] = []
    for folder in folders:
        try:
            participants.append(_read_participant(folder))
        except Exception as error:  # whatever is in a folder, the other participants are reported
            left_out.append(f"participant '{folder}': {words_of(error)}")
    if not participants:
        raise ValueError(f"no participant's folder can be read; the first of {len(left_out)}: {left_out[0]}")
    return participants, left_out


def _read_participant(folder: Path) -> Participant:
    deployed: dict[int, dict[str, float]] = {}
    if (folder / "deployment.json").exists():
        deployed = _read(folder / "deployment.json", _deployments)
    gain = _read(folder / "results.json", _gain) if (folder / "results.json").exists() else None

    # effort
    steps = open_recording(folder).steps
    effort_by_round = {}
    for number in steps["round"].unique():
        effort_by_round[int(number)] = effort(steps[steps["round"] == number])

    return Participant(
        name=folder.name,
        predictions=_read(folder / "predictions.json", _predictions),
        answers=read_answers(folder / "answers.jsonl"),
        deployed=deployed,
        effort=effort_by_round,
        gain=gain,
        human=read_human(folder / "human.json"),
    )


def _read(path: Path, take: Callable[[Any], Content]) -> Content:
    """Return a part of a JSON file.

    Args:
        path: Path of the file.
        take: Function from the content of the file to the part of it.

    Raises:
        ValueError: The file is damaged, or holds something else.
    """
    content = read_json(path)
    try:
        return take(content)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise damaged(path, repr(error)) from None


def _predictions(content: Any) -> dict[int, dict[str, dict[str, float]]]:
    """Return the metrics of each round and estimator, by name."""
    if not content:
        raise ValueError("no round is in it")
    rounds: dict[int, dict[str, dict[str, float]]] = {}
    for number, estimators in content.items():
        rounds[int(number)] = {}
        for estimator, metrics in estimators.items():
            rounds[int(number)][estimator] = {name: float(value) for name, value in metrics.items()}
    return rounds


def _deployments(content: Any) -> dict[int, dict[str, float]]:
    """Return the outcome of each round's deployment, by name."""
    rounds = {}
    for number, outcome in content.items():
        rounds[int(number)] = {name: outcome[name] for name in DEPLOYMENT_METRICS}
    return rounds


def _gain(content: Any) -> float:
    """Return the gain in the success rate by learning."""
    return content["learnt policy"]["success_rate"] - content["initial policy"]["success_rate"]
