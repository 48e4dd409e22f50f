"""Recordings from disk: as the data of another run, or as demonstrations to clone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import EnvBase

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.schema import read_schema
from mile.transitions import DEMONSTRATION, acted, proposed


class Needs(Protocol):
    """A class of methods that says what it needs; every `mile.methods.Method` is one."""

    learns_corrections: bool

    @classmethod
    def needs_proposals(cls, is_discrete: bool) -> bool:
        """Return whether it compares what the human did with what the robot proposed there."""
        ...


def open_recording(folder: str | Path, environment: str | None = None) -> InterventionBuffer:
    """Open the buffer in a folder, or that of the run in it.

    Args:
        folder: Folder of a run, or of a buffer.
        environment: Name of the environment whose steps are expected; None: any.

    Raises:
        ValueError: There is no recording, or it is empty.
        BufferError: The recording is damaged, or of another environment.
    """
    place = Path(folder) / "buffer" if (Path(folder) / "buffer").is_dir() else Path(folder)
    if not (place / "schema.json").is_file():
        raise ValueError(f"'{folder}' holds no recorded episodes; give the folder of a run, or its buffer/")
    buffer = InterventionBuffer(place, environment or read_schema(place)[0])
    if not buffer.episodes:
        raise ValueError(f"'{folder}' holds no complete episode yet")
    return buffer


def take_recording(folder: str | Path, buffer: InterventionBuffer) -> None:
    """Copy a recording into a buffer, except for the episodes that the buffer already has.

    Demonstrations stay what they are; the deployed episodes become one round.

    Args:
        folder: Folder of a run, or of a buffer.
        buffer: Buffer of the same environment.

    Raises:
        ValueError: There is no recording of any episode.
        BufferError: The recording is damaged, or of another environment.
    """
    source = open_recording(folder, buffer.environment)
    demonstrated, deployed = [], []
    for episode in sorted(source.episodes):
        if episode.round == DEMONSTRATION:
            demonstrated.append(episode)
        else:
            deployed.append(episode)

    def copies() -> Iterator[TensorDictBase]:
        for round_, chosen in ((DEMONSTRATION, demonstrated), (0, deployed)):
            present = buffer.recorded(round_)
            for number, episode in enumerate(chosen):
                if number not in present:
                    steps: Any = single(source.read(episode))
                    steps["round"].fill_(round_)
                    steps["episode"].fill_(number)
                    yield steps

    buffer.extend(copies())


def corrects(buffer: InterventionBuffer) -> bool:
    """Return whether a recording has steps in which a human corrected without an action."""
    if "direction" not in buffer.entries:
        return False
    return bool((buffer.steps["intervened"] & ~acted(buffer.steps["human_action"])).any())  # pyright: ignore


def check_recorded(buffer: InterventionBuffer, method: type[Needs]) -> None:
    """Check that a recording has what a method needs: actions of a human, and perhaps what the robot proposed there.

    Args:
        buffer: Recording.
        method: Class of the method.

    Raises:
        ValueError: That is not recorded.
    """
    if not buffer.episodes:
        return

    # corrections without an action, of which few methods learn
    present: Any = buffer.steps
    steps = present.select("robot_action", "human_action", "intervened")
    by_human = acted(steps["human_action"])
    if corrects(buffer) and not method.learns_corrections and not by_human.any():
        raise ValueError(
            f"{method.__name__} learns from what the human did, and the recording has corrections without actions "
            "alone; choose method=mile or mile_silence"
        )

    # what the robot proposed
    unknown = int((~proposed(steps)).sum())
    if unknown and method.needs_proposals(not steps["robot_action"].is_floating_point()):
        raise ValueError(
            f"{method.__name__} compares the human's actions with what the robot proposed, and the recording lacks it "
            f"in {unknown} of {int(steps['intervened'].sum())} steps with ν=1; choose a method that does not, such as "
            "mile, hg_dagger, iwr or sirius"
        )


def single(steps: TensorDictBase) -> TensorDictBase:
    """Convert observations, actions and rewards to float32, the type of networks' weights; return the same steps."""
    for key, value in list(steps.items(True, True)):
        if value.dtype == torch.float64 and key != "timestamp":
            steps[key] = value.float()
    return steps


def demonstrations(env: EnvBase, folder: str | Path) -> TensorDict:
    """Return the successful demonstrations of a recording, for `mile.ingredients.demonstrations.clone_demonstrations`.

    `mile-record` records them, `mile-data import` takes them from other projects.

    Args:
        env: Environment that they were recorded in.
        folder: Folder of the recording, or of a run.

    Returns:
        Steps as `mile.transitions` describes them, `[steps]`, of successful episodes alone.

    Raises:
        ValueError: There is no successful demonstration.
    """
    buffer = open_recording(folder, env.name)  # pyright: ignore
    steps: Any = buffer.steps.exclude("frame", ("next", "frame"))[buffer.rows([DEMONSTRATION])]
    successful = steps["episode"][steps["next", "success"]]
    if not len(successful):
        raise ValueError(
            f"'{folder}' holds no successful demonstration; record some with mile-record, or import some with mile-data"
        )
    return single(steps[torch.isin(steps["episode"], successful)])
