"""Pictures of a recorded episode: it is played again, and drawn with the actions of robot and human."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase, TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform
from mile.humans.human import Decision, Human
from mile.recordings.video import FrameRecorder
from mile.transitions import observed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PICTURES = 8  # in the drawing of an episode


class Recorded(Human):
    """A robot and a human who repeat the actions of a recorded episode.

    Args:
        steps: Steps of the episode, `[steps]`.
    """

    def __init__(self, steps: TensorDictBase) -> None:
        self.steps = steps
        self.begin()

    def begin(self, copies: Tensor | None = None) -> None:
        """Begin the episode again; see `Human.begin`."""
        self.step = 0

    def act(self, step: TensorDictBase) -> TensorDictBase:
        """Set the recorded action of the robot."""
        return step.set("action", self.steps["robot_action"][[self.step]])

    def decide(self, step: TensorDictBase) -> Decision:
        """Return the recorded decision; see `Human.decide`."""
        recorded: Any = self.steps[[self.step]]
        return Decision(recorded["intervened"], recorded["executed_action"], recorded["intervention_prob"])

    def judge(self, executed_action: Tensor) -> bool | None:
        """End the episode where the recorded one ended; see `Human.judge`."""
        self.step = (self.step + 1) % len(self.steps)
        return None if self.step else bool(self.steps["next", "success"][-1])


def replay(steps: TensorDictBase, env: EnvBase, seed: int) -> NDArray[np.uint8]:
    """Play an episode again and return its pictures, `[steps, height, width, 3]`, with a border where the human acts.

    Args:
        steps: One recorded episode, `[steps]`.
        env: Environment of one copy, made as for the recording by `make_env`, with `render_mode="rgb_array"`.
        seed: Seed of the recording's episodes.

    Raises:
        ValueError: The observations are not the recorded ones.
    """
    recorder, recorded = FrameRecorder(), Recorded(steps)
    filmed = TransformedEnv(env, InterventionTransform(recorded)).append_transform(recorder)
    again = collect_episodes(filmed, recorded.act, [int(steps["episode"][0])], seed=seed)
    is_same = len(again) == len(steps)
    for name in observed(steps):
        is_same = is_same and torch.allclose(again[name].double(), steps[name].double(), atol=1e-4)
    if not is_same:
        raise ValueError("the episode cannot be played again as it was: another seed, or another simulator's version")
    return np.stack(recorder.frames)


def draw_episode(steps: TensorDictBase, frames: NDArray[np.uint8] | None = None) -> Figure:
    """Draw an episode: pictures if there are any; ν and p(ν=1|s); executed and proposed actions.

    Args:
        steps: One episode, `[steps]`.
        frames: Pictures of the steps, `[steps, height, width, 3]`.
    """
    from matplotlib.figure import Figure

    # one row of pictures more if there are some
    rows, heights, height = ["human", "actions"], [1, 1.4], 5.0
    if frames is not None:
        rows, heights, height = ["pictures", *rows], [0.7, *heights], height + 1.6
    figure = Figure(figsize=(11, height), layout="constrained")
    axes = figure.subplot_mosaic([[name] for name in rows], height_ratios=heights)
    if frames is not None:
        _draw_pictures(axes["pictures"], frames)

    # ν as a grey background
    time: Any = steps["step"].numpy()
    for name in ("human", "actions"):
        whole = axes[name].get_xaxis_transform()
        axes[name].fill_between(time, 0, 1, where=steps["intervened"], step="mid", color="0.87", transform=whole)

    # the human
    axes["human"].plot(time, steps["intervention_prob"], label="p(ν=1|s)")
    axes["human"].set(ylabel="p(ν=1|s); grey: ν=1", ylim=(0, 1))

    # each part of the action, [steps]
    executed = steps["executed_action"].reshape(len(steps), -1).numpy()
    proposed = steps["robot_action"].reshape(len(steps), -1).numpy()
    for part in range(executed.shape[1]):
        (line,) = axes["actions"].plot(time, executed[:, part], drawstyle="steps-mid", label=f"action {part}")
        axes["actions"].plot(time, proposed[:, part], ":", color=line.get_color(), drawstyle="steps-mid", linewidth=0.8)
    axes["actions"].set(xlabel="step", ylabel="executed (dotted: the robot's)")
    axes["actions"].legend(fontsize=7, ncols=4)

    # title
    ends = [key for key in ("success", "terminated", "truncated") if steps["next", key][-1]]
    end = ends[0] if ends else "no end"
    number, round_ = int(steps["episode"][0]), int(steps["round"][0])
    figure.suptitle(f"round {round_}, episode {number}: return {float(steps['next', 'reward'].sum()):.1f}, {end}")
    return figure


def _draw_pictures(axes: Any, frames: NDArray[np.uint8]) -> None:
    """Draw pictures at equal distances, side by side."""
    chosen = np.linspace(0, len(frames) - 1, min(MAX_PICTURES, len(frames))).round().astype(int)
    axes.imshow(np.concatenate(frames[chosen], axis=1))
    axes.set(title=f"steps {', '.join(map(str, chosen))}; a border where the human acts")
    axes.axis("off")
