"""Videos of rollouts, in which frames have a border where the human acts."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensordict import TensorDictBase
from torchrl.envs import EnvBase, Transform, TransformedEnv

from mile.collection import collect_episodes
from mile.envs.frames import decompress
from mile.evaluation import Evaluation, summarize
from mile.policies import Policy
from mile.transitions import is_picture

HUMAN_COLOUR = (220, 40, 40)
BORDER = 8  # pixels


class FrameRecorder(Transform):
    """Keeps pictures of the steps. Append it last, to an environment made with `render_mode="rgb_array"`.

    Args:
        every: Number of steps from one picture to the next.
        keep: Function that returns what is kept of a picture `[height, width, 3]` uint8.

    Attributes:
        frames: What is kept of the pictures so far.
    """

    def __init__(self, every: int = 1, keep: Callable[[NDArray[np.uint8]], Any] = np.asarray) -> None:
        super().__init__()
        self.every = every
        self.keep = keep
        self.step_count = 0
        self.frames: list[Any] = []

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        self.step_count += 1
        is_last = bool((next_tensordict["terminated"] | next_tensordict["truncated"]).any())
        if self.step_count % self.every and not is_last:
            return next_tensordict
        frame = np.array(self.parent.base_env.render())  # pyright: ignore
        if "intervened" in next_tensordict.keys() and next_tensordict["intervened"].any():
            frame = bordered(frame)
        self.frames.append(self.keep(frame))
        return next_tensordict

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        return tensordict_reset


def bordered(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture `[height, width, 3]` with the border that says that the human acts."""
    framed = np.full_like(picture, HUMAN_COLOUR)
    framed[BORDER:-BORDER, BORDER:-BORDER] = picture[BORDER:-BORDER, BORDER:-BORDER]
    return framed


def recorded_frames(steps: TensorDictBase) -> NDArray[np.uint8] | None:
    """Return the pictures that an episode `[steps]` was recorded with, `[steps, height, width, 3]`.

    They are those to look at, otherwise the first ones that were observed; None: there are none.
    """
    after: Any = steps["next"]
    observed = [name for name in sorted(after.keys()) if is_picture(after[name])]
    if "frame" in after.keys():
        shots = [decompress(frame) for frame in after["frame"]]
    elif observed:
        colours = after[observed[0]].expand(-1, -1, -1, 3) if after[observed[0]].shape[-1] == 1 else after[observed[0]]
        shots = list(colours[..., :3].numpy())
    else:
        return None

    pictures = []
    for picture, intervened in zip(shots, steps["intervened"], strict=True):
        pictures.append(bordered(picture) if intervened else picture)
    return np.stack(pictures)


def film(
    env: EnvBase,
    policy: Policy,
    seed: int,
    deterministic: bool = True,
    every: int = 1,
    keep: Callable[[NDArray[np.uint8]], Any] = np.asarray,
) -> tuple[list[Any], Evaluation]:
    """Play one episode and return its pictures and its outcome.

    Args:
        env: Environment of one copy, made with `render_mode="rgb_array"`; with or without an `InterventionTransform`.
        policy: Policy of the robot.
        seed: Seed of the episode.
        deterministic: Have the robot take its most probable action; otherwise it samples.
        every: Number of steps from one picture to the next; the last step has one in any case.
        keep: Function that returns what is kept of a picture `[height, width, 3]`.
    """
    recorder = FrameRecorder(every, keep)
    recorded = env.append_transform(recorder) if isinstance(env, TransformedEnv) else TransformedEnv(env, recorder)
    steps = collect_episodes(recorded, policy, 1, seed=seed, deterministic=deterministic)
    return recorder.frames, summarize(steps)


def record_video(env: EnvBase, policy: Policy, seed: int, deterministic: bool = True) -> NDArray[np.uint8]:
    """Play one episode and return its pictures, `[steps, height, width, 3]`; see `film`."""
    return np.stack(film(env, policy, seed, deterministic)[0])


def check_video_file(path: str | Path) -> None:
    """Raise ValueError unless `write_video` can write a file of that name."""
    if Path(path).suffix not in (".gif", ".webp", ".png"):
        raise ValueError(f"a video's file must end in .gif, .webp or .png, got '{path}'")


def write_video(file: str | Path | IO[bytes], frames: NDArray[np.uint8], frames_per_second: int = 50) -> None:
    """Write pictures as an animation.

    Args:
        file: Path with the suffix .gif, .webp or .png (animated); or an open file, which gets a GIF.
        frames: Pictures, `[steps, height, width, 3]`.
        frames_per_second: Speed, Hz; 50 is LunarLander's own.

    Raises:
        ValueError: The path has another suffix.
    """
    format_ = "GIF"
    if isinstance(file, (str, Path)):
        check_video_file(file)
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        format_ = None  # by the suffix
    first, *rest = map(Image.fromarray, frames)
    first.save(file, format_, save_all=True, append_images=rest, duration=round(1000 / frames_per_second), loop=0)
