"""Can the expert undo what the robot did? Their success, when they take over for good after some steps.

python benchmarks/rescue.py [--task peg_insert]
"""

import argparse
from collections.abc import Callable
from contextlib import closing

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.collection import collect_episodes
from mile.envs import make_env
from mile.evaluation import summarize
from mile.ingredients.demonstrations import ScriptedPolicy
from mile.policies import Policy, load_policy

Act = Callable[[TensorDictBase], Tensor]
HANDOVERS = (0, 60, 120, 200, 300)  # steps
SEED = 11


class Handover:
    """Acts as the robot does, and from some step of each episode on as somebody else does."""

    def __init__(self, robot: Act, other: Act, steps: int) -> None:
        self.robot = robot
        self.other = other
        self.steps = steps
        self.episode = self.count = torch.empty(0)

    def __call__(self, step: TensorDictBase) -> TensorDictBase:
        """Set "action", `[copies, action_dim]`."""
        if self.episode.shape != step["episode"].shape:
            self.episode, self.count = step["episode"].clone(), torch.zeros_like(step["episode"])
        self.count = torch.where(self.episode == step["episode"], self.count + 1, 0)
        self.episode = step["episode"].clone()
        is_late = (self.count >= self.steps).unsqueeze(-1)
        return step.set("action", torch.where(is_late, self.other(step), self.robot(step)))


def best_actions(policy: Policy) -> Act:
    """Return the function of a policy's most probable actions."""

    @torch.no_grad()
    def act(step: TensorDictBase) -> Tensor:
        return policy.act(*policy.inputs(step)).clamp(-1, 1)

    return act


def main() -> None:
    """Print a line for each handover."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="peg_insert")
    parser.add_argument("--episodes", type=int, default=40)
    arguments = parser.parse_args()

    with closing(make_env(arguments.task, 16)) as env:
        scripted = ScriptedPolicy(*env.simulator.scripted())  # pyright: ignore
        robot = best_actions(load_policy(f"{arguments.task}/initial"))
        others = {
            "expert": best_actions(load_policy(f"{arguments.task}/expert")),
            "scripted policy": lambda step: scripted.clean_actions(step).float(),
            "nobody": robot,
        }
        print("taken over at step,", ", ".join(others))
        for steps in HANDOVERS:
            rates = []
            for other in others.values():
                outcome = summarize(collect_episodes(env, Handover(robot, other, steps), arguments.episodes, seed=SEED))
                rates.append(f"{outcome.success_rate:.2f}")
            print(f"{steps},", ", ".join(rates), flush=True)


if __name__ == "__main__":
    main()
