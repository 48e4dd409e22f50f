"""What was recorded as the data of another run, or as demonstrations to clone."""

from pathlib import Path
from typing import Any

from tensordict import TensorDict
from torchrl.envs import EnvBase

from mile.datamodules.buffer import InterventionBuffer
from mile.transitions import DEMONSTRATION


def take_recording(run: str | Path, buffer: InterventionBuffer) -> None:
    """Copy the episodes that a run deployed into a buffer, as one round; those that it holds already are left alone.

    Args:
        run: its folder.
        buffer: of the same environment.

    Raises:
        ValueError: there is no recording of any episode.
        BufferError: it is damaged, or of another environment.
    """
    folder = Path(run) / "buffer"
    source = InterventionBuffer(folder, buffer.environment) if folder.is_dir() else None
    if source is None or not source.episodes:
        raise ValueError(f"'{run}' holds no recorded episodes; give the folder of a run")
    deployed = sorted(episode for episode in source.episodes if episode.round != DEMONSTRATION)
    for number, episode in enumerate(deployed):
        if number not in buffer.recorded(0):
            steps: Any = source.steps[episode.start : episode.start + episode.length].clone()
            steps["round"].zero_()
            steps["episode"].fill_(number)
            buffer.append(steps)


def demonstrations(env: EnvBase, folder: str | Path) -> TensorDict:
    """Return what a person showed and `mile-record` kept, for `mile.demonstrations.clone_demonstrations`.

    Args:
        env: the environment it was shown in.
        folder: of the recording.

    Returns:
        Steps as `mile.transitions` describes them, `[steps]`, of successful episodes alone.

    Raises:
        ValueError: there is none.
    """
    buffer = InterventionBuffer(Path(folder), env.name)  # pyright: ignore
    shown: Any = buffer.steps[buffer.rows([DEMONSTRATION])]
    good = shown[shown["next", "success"]]["episode"] if len(shown) else None
    if good is None or not len(good):
        raise ValueError(f"'{folder}' holds no successful demonstration; record some with mile-record")
    return shown[shown["episode"].unsqueeze(-1).eq(good).any(-1)]
