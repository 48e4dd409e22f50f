"""Draw where a car drives before and after learning, on the same tracks.

python docs/results/draw_laps.py outputs/car_racing/iwr/policy.safetensors docs/results/car_racing.png
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mile.envs import make_env
from mile.envs.driving import LEFT_TRACK
from mile.policies import Policy, load_policy

SEED, EPISODES = 2000000, (0, 1, 3)  # the first of the final evaluation that the initial policy fails in
ROAD = 13.0  # m


def drive(policy: Policy, episode: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the way's middle and the car's path, each `[points, 2]`, m, and whether it arrives."""
    env = make_env("car_racing", stack=4)
    env.schedule.start(SEED, [episode])
    step: Any = env.reset()
    simulator: Any = env.simulator
    middle = simulator.car._line()[: simulator.tiles + 8]

    path, success = [np.array(simulator.car.car.hull.position)], False
    with torch.no_grad():
        while not step["done"].any():
            step = env.step(step.set("action", policy.act(*policy.inputs(step)).float()))["next"]
            path.append(np.array(simulator.car.car.hull.position))
            success = bool(step["success"].any())
    return middle, np.array(path), success


def draw(axes: Axes, policy: Policy, episode: int, title: str) -> None:
    """Draw one drive from above."""
    middle, path, success = drive(policy, episode)
    axes.plot(*middle.T, color="0.85", linewidth=ROAD, solid_capstyle="round", zorder=1)
    axes.plot(*middle.T, color="white", linewidth=0.8, linestyle="--", zorder=2)
    axes.plot(*path.T, color="C2" if success else "C3", linewidth=1.6, zorder=3)
    axes.plot(*path[0], "o", color="0.2", markersize=4, zorder=4)
    if not success:
        axes.plot(*path[-1], "x", color="C3", markersize=9, markeredgewidth=2.5, zorder=4)
    axes.set_title(f"{title}: {'arrives' if success else f'off the road by {LEFT_TRACK:.0f} m'}", fontsize=9)
    axes.set_aspect("equal")
    axes.axis("off")


def main(checkpoint: str, picture: str) -> None:
    """Draw both policies on some tracks."""
    policies = {"before": load_policy("car_racing/initial"), "after": load_policy(checkpoint)}
    figure = Figure((9, 4.2), layout="constrained")
    for row, (title, policy) in zip(figure.subplots(2, len(EPISODES)), policies.items(), strict=True):
        for axes, episode in zip(row, EPISODES, strict=True):
            draw(axes, policy.double(), episode, title)
    figure.savefig(Path(picture), dpi=100)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
