"""How wrong is the robot where nobody intervenes, and is it wrong in one way?

python benchmarks/silent_steps.py

The initial policy of each Meta-World task acts under its calibrated human for 15 episodes. Printed are, for the steps
with ν=0, the mean squared distance of the executed action from the expert's best one, ‖(a − μ*)/s*‖², both clipped to
the range of actions, and which share of it is systematic: the squared mean deviation over the mean squared one, of all
steps, and within an episode. A method that clones these actions averages out the rest alone.

On LunarLander, under two humans: how far the robot's action lies from the expert's best one where the human is silent,
and where they act, median in nats over five episodes.
"""

import tempfile
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from weight_of_j1 import experiment

from mile.collection import collect_episodes
from mile.running.assembly import assemble, environments

TASKS = ("button_press", "drawer_open", "peg_insert")
EPISODES, SEED = 15, 10
HUMANS, HUMAN_EPISODES, HUMAN_SEEDS = ("calibrated", "sticky"), 5, (5, 6, 7)


def record(task: str, human: str, episodes: int, seed: int) -> tuple[Any, Any]:
    """Return recorded steps of the initial policy under a human, and the expert in the human's place."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = experiment(task, seed, Path(folder), f"human={human}")
        with environments(cfg) as (env, watched):
            parts = assemble(cfg, env, watched)
            return collect_episodes(parts.supervised, parts.initial, episodes, seed=seed), parts.human.expert


def deviations(task: str) -> tuple[Tensor, Tensor]:
    """Return (a − μ*)/s* of the steps with ν=0, `[steps, action_dim]`, and their episodes, `[steps]`."""
    steps, expert = record(task, "calibrated", EPISODES, SEED)
    with torch.no_grad():
        mean, std = expert.mean_and_std(*expert.inputs(steps))
    deviation = (steps["executed_action"].clamp(-1, 1) - mean.clamp(-1, 1)) / std
    silent = ~steps["intervened"]
    return deviation[silent], steps["episode"][silent]


def nats_from_best(human: str, seed: int) -> tuple[float, float, float]:
    """Return the medians of ln π*(a*) − ln π*(a_r) where ν=0 and where ν=1, nats, and the share of ν=1."""
    steps, expert = record("lunarlander", human, HUMAN_EPISODES, seed)
    acted = steps["intervened"]
    with torch.no_grad():
        policy = expert.at(steps)
    distance = policy.logits.max(-1).values - policy.log_prob(steps["robot_action"])
    return float(distance[~acted].median()), float(distance[acted].median()), float(acted.float().mean())


def systematic_share(deviation: Tensor, group: Tensor) -> float:
    """Return the squared mean deviation of a step's group over the mean squared deviation."""
    squared = torch.zeros(len(deviation))
    for number in group.unique():
        own = group == number
        squared[own] = deviation[own].mean(0).square().sum()
    return float(squared.mean() / deviation.square().sum(-1).mean())


def main() -> None:
    """Print both tables."""
    warnings.filterwarnings("ignore")
    rows = ["| task | steps with ν=0 | mean square | systematic | within an episode |", "|---|---|---|---|---|"]
    for task in TASKS:
        deviation, episode = deviations(task)
        shares = systematic_share(deviation, torch.zeros_like(episode)), systematic_share(deviation, episode)
        mean_square = float(deviation.square().sum(-1).mean())
        rows.append(f"| {task} | {len(deviation)} | {mean_square:.1f} | {shares[0]:.3f} | {shares[1]:.3f} |")

    rows += ["", "| LunarLander | seed | where silent | where acting | share of ν=1 |", "|---|---|---|---|---|"]
    for human, seed in product(HUMANS, HUMAN_SEEDS):
        silent, acting, share = nats_from_best(human, seed)
        rows.append(f"| {human} | {seed} | {silent:.1f} | {acting:.1f} | {share:.2f} |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
