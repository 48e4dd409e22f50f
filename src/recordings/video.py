"""Videos of rollouts, in which frames have a border where the human acts."""

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensordict import TensorDictBase
from torchrl.envs import EnvBase, Transform, TransformedEnv

from mile.collection import collect_episodes
from mile.envs.frames import decompress
from mile.policies import Policy
from mile.transitions import is_picture

HUMAN_COLOUR = (220, 40, 40)
BORDER = 8  # pixels


class FrameRecorder(Transform):
    """Keeps a picture of every step. Append it last, to an environment made with `render_mode="rgb_array"`.

    Attributes:
        frames: Pictures of the steps so far, each `[height, width, 3]` uint8.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[NDArray[np.uint8]] = []

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        frame = np.array(self.parent.base_env.render())  # pyright: ignore
        if "intervened" in next_tensordict.keys() and next_tensordict["intervened"].any():
            frame = bordered(frame)
        self.frames.append(frame)
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


def record_video(env: EnvBase, policy: Policy, seed: int, deterministic: bool = True) -> NDArray[np.uint8]:
    """Play one episode and return its pictures, `[steps, height, width, 3]`.

    Args:
        env: Environment of one copy, made with `render_mode="rgb_array"`; with or without an `InterventionTransform`.
        policy: Policy of the robot.
        seed: Seed of the episode.
        deterministic: Have the robot take its most probable action; otherwise it samples.
    """
    recorder = FrameRecorder()
    recorded = env.append_transform(recorder) if isinstance(env, TransformedEnv) else TransformedEnv(env, recorder)
    collect_episodes(recorded, policy, 1, seed=seed, deterministic=deterministic)
    return np.stack(recorder.frames)


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
