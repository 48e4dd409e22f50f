"""How wrong is the robot where nobody intervenes, and is it wrong in one way?

python benchmarks/silent_steps.py

The initial policy of each Meta-World task acts under its calibrated human for 15 episodes. Printed are, for the steps
with ν=0, the mean squared distance of the executed action from the expert's best one, ‖(a − μ*)/s*‖², both clipped to
the range of actions, and which share of it is systematic: the squared mean deviation over the mean squared one, of all
steps, and within an episode. A method that clones these actions averages out the rest alone.
"""

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor
from weight_of_j1 import experiment

from mile.collection import collect_episodes
from mile.running.assembly import assemble, environments

TASKS = ("button_press", "drawer_open", "peg_insert")
EPISODES, SEED = 15, 10


def deviations(task: str, folder: Path) -> tuple[Tensor, Tensor]:
    """Return (a − μ*)/s* of the steps with ν=0, `[steps, action_dim]`, and their episodes, `[steps]`."""
    cfg = experiment(task, SEED, folder)
    with environments(cfg) as (env, watched):
        parts = assemble(cfg, env, watched)
        steps = collect_episodes(parts.supervised, parts.initial, EPISODES, seed=SEED)
    expert = parts.human.expert
    with torch.no_grad():
        mean, std = expert.mean_and_std(steps[expert.sees])
    deviation = (steps["executed_action"].clamp(-1, 1) - mean.clamp(-1, 1)) / std
    silent = ~steps["intervened"]
    return deviation[silent], steps["episode"][silent]


def systematic_share(deviation: Tensor, group: Tensor) -> float:
    """Return the squared mean deviation of a step's group over the mean squared deviation."""
    squared = torch.zeros(len(deviation))
    for number in group.unique():
        own = group == number
        squared[own] = deviation[own].mean(0).square().sum()
    return float(squared.mean() / deviation.square().sum(-1).mean())


def main() -> None:
    """Print a row for each task."""
    warnings.filterwarnings("ignore")
    rows = []
    for task in TASKS:
        with tempfile.TemporaryDirectory() as folder:
            deviation, episode = deviations(task, Path(folder))
        shares = systematic_share(deviation, torch.zeros_like(episode)), systematic_share(deviation, episode)
        mean_square = float(deviation.square().sum(-1).mean())
        rows.append(f"| {task} | {len(deviation)} | {mean_square:.1f} | {shares[0]:.3f} | {shares[1]:.3f} |")
    print("| task | steps with ν=0 | mean square | systematic | within an episode |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
