"""The recording of a run as the data of another one."""

from pathlib import Path
from typing import Any

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
