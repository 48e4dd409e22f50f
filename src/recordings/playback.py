"""A recorded episode to look at: played again for its pictures, and drawn with what robot and human did."""

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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = 8  # of an episode, in its drawing


class Recorded(Human):
    """A human, and a robot, who do once more what they did in an episode."""

    def __init__(self, steps: TensorDictBase) -> None:
        self.steps = steps
        self.begin()

    def begin(self) -> None:
        """Start over; see `Human.begin`."""
        self.step = 0

    def act(self, step: TensorDictBase) -> TensorDictBase:
        """Set the robot's action."""
        return step.set("action", self.steps["robot_action"][[self.step]])

    def decide(self, observation: Tensor, noise: Tensor | None = None) -> Decision:
        """Return the recorded decision; see `Human.decide`."""
        now: Any = self.steps[[self.step]]
        return Decision(now["intervened"], now["executed_action"], now["intervention_prob"])

    def judge(self, executed_action: Tensor) -> bool | None:
        """End the episode where it ended; see `Human.judge`."""
        self.step = (self.step + 1) % len(self.steps)
        return None if self.step else bool(self.steps["next", "success"][-1])


def replay(steps: TensorDictBase, env: EnvBase, seed: int) -> NDArray[np.uint8]:
    """Play an episode again and return its pictures, `[steps, height, width, 3]`; the human's have a border.

    Args:
        steps: one recorded episode, `[steps]`.
        env: of one copy, made as the recording's by `make_env`, with `render_mode="rgb_array"`.
        seed: of the recording's episodes.

    Raises:
        ValueError: what happens is not what was recorded.
    """
    recorder, recorded = FrameRecorder(), Recorded(steps)
    watched = TransformedEnv(env, InterventionTransform(recorded)).append_transform(recorder)
    again = collect_episodes(watched, recorded.act, [int(steps["episode"][0])], seed=seed)
    seen, before = again["observation"], steps["observation"]
    if len(again) != len(steps) or not torch.allclose(seen, before, atol=1e-4):
        raise ValueError("the episode cannot be played again as it was: another seed, or another simulator's version")
    return np.stack(recorder.frames)


def draw_episode(steps: TensorDictBase, frames: NDArray[np.uint8] | None = None) -> Figure:
    """Draw an episode: pictures if there are any, ν and p(ν=1|s), and what was executed and proposed.

    Args:
        steps: one episode, `[steps]`.
        frames: `[steps, height, width, 3]`.
    """
    from matplotlib.figure import Figure

    parts = [] if frames is None else ["pictures"]
    figure = Figure(figsize=(11, 5 + 1.6 * len(parts)), layout="constrained")
    heights = [0.7] * len(parts) + [1, 1.4]
    axes = figure.subplot_mosaic([[name] for name in (*parts, "human", "actions")], height_ratios=heights)
    if frames is not None:
        chosen = np.linspace(0, len(frames) - 1, min(PICTURES, len(frames))).round().astype(int)
        axes["pictures"].imshow(np.concatenate(frames[chosen], axis=1))
        axes["pictures"].set(title=f"steps {', '.join(map(str, chosen))}; a border where the human acts")
        axes["pictures"].axis("off")
    time: Any = steps["step"].numpy()
    for name in ("human", "actions"):
        whole = axes[name].get_xaxis_transform()
        axes[name].fill_between(time, 0, 1, where=steps["intervened"], step="mid", color="0.87", transform=whole)
    axes["human"].plot(time, steps["intervention_prob"], label="p(ν=1|s)")
    axes["human"].set(ylabel="p(ν=1|s); grey: ν=1", ylim=(0, 1))
    executed, proposed = (steps[key].reshape(len(steps), -1).numpy() for key in ("executed_action", "robot_action"))
    for part in range(executed.shape[1]):
        (line,) = axes["actions"].plot(time, executed[:, part], drawstyle="steps-mid", label=f"action {part}")
        axes["actions"].plot(time, proposed[:, part], ":", color=line.get_color(), drawstyle="steps-mid", linewidth=0.8)
    axes["actions"].set(xlabel="step", ylabel="executed (dotted: the robot's)")
    axes["actions"].legend(fontsize=7, ncols=4)
    ends = (key for key in ("success", "terminated", "truncated") if steps["next", key][-1])
    number, at = int(steps["episode"][0]), int(steps["round"][0])
    figure.suptitle(f"round {at}, episode {number}: return {float(steps['next', 'reward'].sum()):.1f}, {next(ends)}")
    return figure
