"""Weights of frames for LeRobot's training.

LeRobot (0.6) reads no weights but progress p, from a table beside the dataset: a frame counts by Δ = p(t + H) − p(t),
where H is the policy's chunk, standardised by the mean and the spread of Δ over the table. For weights w we solve that
backwards: Δ = α w, where α = 4 s = 2 m for spread s and mean m. One more episode, behind the last, makes m and s what
they must be; no frame of the dataset belongs to it.

https://huggingface.co/docs/lerobot (sample_weighting.type=rabc)
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STEP = 0.009  # α; LeRobot counts a frame fully from Δ = 0.01 on
EPSILON = 1e-6  # what LeRobot adds to 4 s


def write_lerobot_weights(path: str | Path, weights: NDArray[np.float64], lengths: list[int], chunk: int) -> None:
    """Write weights of frames as the table of progress that LeRobot's `RABCWeights` reads.

    An episode's last frame has nothing to go on to: it counts 0, whatever its weight.

    Args:
        path: Path of the parquet file.
        weights: Weight of each frame, `[frames]`, in [0, 1], one episode after another as they are exported.
        lengths: Number of frames of each episode.
        chunk: Chunk H of the policy that LeRobot is to train, actions.

    Raises:
        FileExistsError: There is such a file already.
        ValueError: The chunk is no positive number.
    """
    import pyarrow
    from pyarrow import parquet

    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    if Path(path).exists():
        raise FileExistsError(f"'{path}' exists")

    # the dataset's episodes, and one more
    gains = [STEP * part for part in np.split(weights, np.cumsum(lengths)[:-1])]
    for gain in gains:
        gain[-1] = 0
    gains.append(_balance(np.concatenate(gains)))

    progress = np.concatenate([progress_of(gain, chunk) for gain in gains])
    counts = [len(gain) for gain in gains]
    frames = np.concatenate([np.arange(count) for count in counts])
    columns = {
        "index": np.arange(len(progress)),
        "episode_index": np.repeat(np.arange(len(gains)), counts),
        "frame_index": frames,
        "progress_sparse": progress,
        "weight": np.concatenate([weights, np.full(len(progress) - len(weights), np.nan)]),
    }
    with Path(path).open("xb") as file:
        parquet.write_table(pyarrow.table(columns), file)


def progress_of(gain: NDArray[np.float64], chunk: int) -> NDArray[np.float64]:
    """Return progress p of an episode such that p(min(t + H, last)) − p(t) is the gain, `[frames]`.

    Args:
        gain: Gain of each frame, `[frames]`; 0 in the last.
        chunk: Number H of frames ahead.
    """
    progress = np.zeros(len(gain))
    for frame in reversed(range(len(gain) - 1)):
        progress[frame] = progress[min(frame + chunk, len(gain) - 1)] - gain[frame]
    return progress


def _balance(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gains of one more episode, with which all have the spread (α − ε) / 4, and twice that as their mean.

    Args:
        gains: Gains of all frames of the dataset.
    """
    spread = (STEP - EPSILON) / 4
    count = 2
    while True:
        # what the new ones must sum up to, but for their last, which is 0
        total = len(gains) + count + 1
        mean = (2 * spread * total - gains.sum()) / count
        square = (5 * spread**2 * total - (gains**2).sum()) / count
        if square >= mean**2:
            break
        count *= 2
    deviation = np.sqrt(square - mean**2)
    return np.append(np.tile([mean - deviation, mean + deviation], count // 2), 0.0)
