"""Rollouts to look at: frames in which the human acts have a border."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensordict import TensorDictBase
from torchrl.envs import EnvBase, Transform, TransformedEnv

from mile.collection import collect_episodes
from mile.policies import Policy

HUMAN_COLOUR = (220, 40, 40)
BORDER = 8  # pixels


class FrameRecorder(Transform):
    """Keeps a picture of every step of an environment made with `render_mode="rgb_array"`; append it last.

    Attributes:
        frames: `[height, width, 3]` uint8 each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[NDArray[np.uint8]] = []

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        frame = np.array(self.parent.base_env.render())
        if "intervened" in next_tensordict.keys() and next_tensordict["intervened"].any():
            inside = frame[BORDER:-BORDER, BORDER:-BORDER].copy()
            frame[:] = HUMAN_COLOUR
            frame[BORDER:-BORDER, BORDER:-BORDER] = inside
        self.frames.append(frame)
        return next_tensordict

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        return tensordict_reset


def record_video(
    env: EnvBase, policy: Policy, seed: int, num_episodes: int = 1, deterministic: bool = True
) -> NDArray[np.uint8]:
    """Play episodes one after the other and return their pictures, `[steps, height, width, 3]`.

    Args:
        env: of one copy, made with `render_mode="rgb_array"`; with or without an `InterventionTransform`.
        policy: the robot's.
        seed: of the episodes.
        num_episodes: how many.
        deterministic: the robot takes its most probable action.
    """
    recorder = FrameRecorder()
    collect_episodes(TransformedEnv(env, recorder), policy, num_episodes, seed=seed, deterministic=deterministic)
    return np.stack(recorder.frames)


def write_video(path: str | Path, frames: NDArray[np.uint8], frames_per_second: int = 50) -> None:
    """Write pictures to a file of a format that moviepy knows by its suffix: .mp4, .gif, ….

    Raises:
        ModuleNotFoundError: moviepy is not installed.
    """
    try:
        from moviepy import ImageSequenceClip
    except ModuleNotFoundError:
        raise ModuleNotFoundError("videos need moviepy: pip install 'mile-interventions[video]'") from None
    clip = ImageSequenceClip(list(frames), fps=frames_per_second)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if Path(path).suffix == ".gif":
        clip.write_gif(str(path), logger=None)
    else:
        clip.write_videofile(str(path), logger=None)
