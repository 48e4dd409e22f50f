"""What `mile-data` does with recordings of others and for others: import, export, weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensordict import TensorDictBase

    from mile.datamodules import InterventionBuffer
    from mile.datamodules.exchange.labels import Labels

FORMATS = ("minari", "robomimic", "lerobot")
RULES = ("iwr", "sirius", "mile")  # of `mile.datamodules.exchange.frame_weights`


def import_episodes(
    source: str,
    format_: str,
    environment: str,
    output: Path,
    only_known: bool = False,
    labels: Labels | None = None,
) -> InterventionBuffer:
    """Take all episodes of a data set into a recording, or none if anything is wrong with one.

    Args:
        source: Id of the Minari dataset, or path of the file or folder.
        format_: Format of the data set, one of `FORMATS`.
        environment: Name of the environment whose steps these are.
        output: Folder of the buffer. If it holds a recording, the episodes are numbered on from there.
        only_known: Where nothing tells which episodes succeeded, count none as successful; otherwise all count.
        labels: Where the data set says who acted; None: where such data sets usually do.

    Returns:
        The recording.

    Raises:
        ValueError: There is no such environment, or the data set is malformed, empty or of another environment.
    """
    from mile.datamodules import InterventionBuffer
    from mile.datamodules.exchange.fitting import fitted
    from mile.datamodules.exchange.foreign import naming
    from mile.datamodules.exchange.labels import USUAL
    from mile.envs.make import environment_spaces
    from mile.envs.observations import Observed

    observation, action = environment_spaces(environment)
    wanted = Observed(observation).spaces.keys()
    buffer = InterventionBuffer(output, environment)
    episodes_before = len(buffer.episodes)
    first_numbers: dict[int, int] = {}  # of the new episodes, by round
    for episode in buffer.episodes:
        first_numbers[episode.round] = max(buffer.recorded(episode.round)) + 1

    by_human = False  # whether any step is the human's

    def numbered_on() -> Iterator[TensorDictBase]:
        nonlocal by_human
        episodes = _read(format_, source, only_known, labels or USUAL, wanted)
        for steps in fitted(episodes, observation, action, environment):
            steps["episode"] += first_numbers.get(int(steps["round"][0]), 0)
            by_human = by_human or bool(steps["intervened"].any())
            yield steps
        if labels is not None and labels.human is not None and not by_human:
            raise ValueError(f"no step is the human's: '{labels.human}' is in none of them; see --human")

    with naming(f"'{source}'"):
        buffer.extend(numbered_on())
    if len(buffer.episodes) == episodes_before:
        raise ValueError(f"'{source}' holds no episodes")
    return buffer


def export(folder: Path, format_: str, target: str) -> None:
    """Write a recording in another project's format.

    Args:
        folder: Folder of a run, or of a buffer.
        format_: Format, one of `FORMATS`.
        target: Id of the Minari dataset, or path of the file or folder.
    """
    from mile.datamodules.exchange.lerobot_writer import write_lerobot
    from mile.datamodules.exchange.minari import write_minari
    from mile.datamodules.exchange.robomimic import write_robomimic
    from mile.datamodules.recorded import open_recording

    writers: dict[str, Callable[[InterventionBuffer, str], None]] = {
        "minari": write_minari,
        "robomimic": write_robomimic,
        "lerobot": write_lerobot,
    }
    writers[format_](open_recording(folder), target)


def write_weights(folder: Path, rule: str, chunk: int, output: Path) -> None:
    """Write how much each step of a recording counts, for LeRobot's training on the export of it.

    Args:
        folder: Folder of a run, or of a buffer.
        rule: Rule, one of `mile.datamodules.exchange.frame_weights.RULES`.
        chunk: Chunk of the policy that LeRobot is to train, actions.
        output: Path of the parquet file.
    """
    import torch

    from mile.datamodules.exchange.frame_weights import frame_weights
    from mile.datamodules.exchange.lerobot_weights import write_lerobot_weights
    from mile.datamodules.recorded import open_recording

    buffer = open_recording(folder)
    episodes = sorted(buffer.episodes)
    numbers: Any = buffer.steps.exclude("frame", ("next", "frame"))
    steps: Any = torch.cat([numbers[episode.rows] for episode in episodes])
    weights = frame_weights(steps, rule).numpy()
    write_lerobot_weights(output, weights, [episode.length for episode in episodes], chunk)


def _read(
    format_: str, source: str, only_known: bool, labels: Labels, wanted: Collection[str]
) -> Iterator[TensorDictBase]:
    """Read the episodes of a data set in one of `FORMATS`; see its reader."""
    from mile.datamodules.exchange.lerobot import read_lerobot
    from mile.datamodules.exchange.minari import read_minari
    from mile.datamodules.exchange.robomimic import read_robomimic

    if format_ == "lerobot":
        return read_lerobot(source, only_known, labels, wanted)
    read = read_minari if format_ == "minari" else read_robomimic
    return read(source, only_known, labels)
