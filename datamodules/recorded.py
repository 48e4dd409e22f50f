"""What was recorded, opened; as the data of another run, or as demonstrations to clone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import EnvBase

from mile.datamodules.buffer import InterventionBuffer, read_schema
from mile.transitions import DEMONSTRATION


def open_recording(folder: str | Path, environment: str | None = None) -> InterventionBuffer:
    """Open the buffer in a folder, or that of the run in it.

    Args:
        folder: of a run, or of a buffer.
        environment: whose steps are wanted; None: whose are there.

    Raises:
        ValueError: there is none, or it is empty.
        BufferError: it is damaged, or of another environment.
    """
    place = Path(folder) / "buffer" if (Path(folder) / "buffer").is_dir() else Path(folder)
    if not (place / "schema.json").is_file():
        raise ValueError(f"'{folder}' holds no recorded episodes; give the folder of a run, or its buffer/")
    buffer = InterventionBuffer(place, environment or read_schema(place)[0])
    if not buffer.episodes:
        raise ValueError(f"'{folder}' holds no complete episode yet")
    return buffer


def take_recording(folder: str | Path, buffer: InterventionBuffer) -> None:
    """Copy a recording into a buffer; those of its episodes that it holds already are left alone.

    Demonstrations stay what they are, the deployed episodes become one round.

    Args:
        folder: of a run, or of a buffer.
        buffer: of the same environment.

    Raises:
        ValueError: there is no recording of any episode.
        BufferError: it is damaged, or of another environment.
    """
    source = open_recording(folder, buffer.environment)
    shown = sorted(episode for episode in source.episodes if episode.round == DEMONSTRATION)
    deployed = sorted(episode for episode in source.episodes if episode.round != DEMONSTRATION)

    def copies() -> Iterator[TensorDictBase]:
        for round_, episodes in ((DEMONSTRATION, shown), (0, deployed)):
            held = buffer.recorded(round_)
            for number, episode in enumerate(episodes):
                if number not in held:
                    steps: Any = single(source.steps[episode.start : episode.start + episode.length].clone())
                    steps["round"].fill_(round_)
                    steps["episode"].fill_(number)
                    yield steps

    buffer.extend(copies())


def single(steps: TensorDictBase) -> TensorDictBase:
    """Return steps with observations, actions and rewards as float32, as networks have their weights."""
    for key, value in list(steps.items(True, True)):
        if value.dtype == torch.float64 and key != "timestamp":
            steps[key] = value.float()
    return steps


def demonstrations(env: EnvBase, folder: str | Path) -> TensorDict:
    """Return what a person showed and `mile-record` kept, for `mile.ingredients.demonstrations.clone_demonstrations`.

    Args:
        env: the environment it was shown in.
        folder: of the recording, or of a run.

    Returns:
        Steps as `mile.transitions` describes them, `[steps]`, of successful episodes alone.

    Raises:
        ValueError: there is none.
    """
    buffer = open_recording(folder, env.name)  # pyright: ignore
    shown: Any = buffer.steps.exclude("frame", ("next", "frame"))[buffer.rows([DEMONSTRATION])]
    good = shown["episode"][shown["next", "success"]]
    if not len(good):
        raise ValueError(
            f"'{folder}' holds no successful demonstration; record some with mile-record, or import some with mile-data"
        )
    return single(shown[torch.isin(shown["episode"], good)])
