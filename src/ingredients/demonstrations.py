"""Demonstrations of Meta-World's scripted policies, and policies cloned from them: experts and weak beginners alike."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import ndtri
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from mile.collection import collect_episodes
from mile.ingredients.cloning import clone_policy
from mile.policies import Policy
from mile.transitions import DEMONSTRATION


class ScriptedPolicy:
    """Acts as a simulator's scripted policy does, with noise and with a miscalibrated view of the task.

    Args:
        policy: from the newest time step's numbers to an action in [−1, 1].
        width: how many numbers a time step has; they come last in a state, or an observation where there is none.
        noise: standard deviation of Gaussian noise on the executed action, in units of the action.
        bias: standard deviation, m, of an offset on what is seen, drawn once for each episode.
        biased: which of these numbers the offset is added to.
        seed: of the offsets.
    """

    def __init__(
        self,
        policy: Callable[[np.ndarray], np.ndarray],
        width: int,
        noise: float = 0.0,
        bias: float = 0.0,
        biased: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        self.policy, self.width = policy, width
        self.noise = noise
        self.bias = bias
        self.biased = list(biased)
        self.seed = seed

    def __call__(self, step: TensorDictBase) -> TensorDictBase:
        """Set "action", `[copies, 4]`, from the state, "episode" and "robot_noise"."""
        action = self.clean_actions(step)
        normal = torch.from_numpy(ndtri(step["robot_noise"].clamp(1e-6, 1 - 1e-6).numpy()))
        return step.set("action", (action + self.noise * normal).clamp(-1, 1))

    def clean_actions(self, steps: TensorDictBase) -> Tensor:
        """Return the policy's actions without noise, in [−1, 1], for `[steps]`."""
        seen, episode = steps.get("state", steps["observation"]), steps["episode"]
        states: Any = seen[:, -self.width :].double().numpy().copy()
        offsets = {number: self._offset(number) for number in episode.unique().tolist()}
        states[:, self.biased] += np.stack([offsets[number] for number in episode.tolist()])
        with warnings.catch_warnings(action="ignore"):  # the suite's own, about actions beyond ±1
            actions = np.stack([self.policy(state) for state in states])
        return torch.from_numpy(actions).clamp(-1, 1).to(seen.dtype)

    def _offset(self, episode: int) -> np.ndarray:
        return np.random.default_rng((self.seed, max(episode, 0))).normal(0, self.bias, len(self.biased))


def demonstrate(
    env: EnvBase,
    *,
    num_episodes: int,
    noise: float,
    bias: float,
    biased: Sequence[int],
    max_steps: int,
    seed: int,
) -> TensorDict:
    """Let the scripted policy show its task; failed episodes are kept.

    Noise makes demonstrations of an expert: they show how to recover. A bias makes those of a beginner: each aims
    beside the object or the goal, in a direction of its own.

    Args:
        env: whose simulator has a scripted policy, as Meta-World's have.
        num_episodes: demonstrations.
        noise: see `ScriptedPolicy`.
        bias: see `ScriptedPolicy`, m.
        biased: see `ScriptedPolicy`.
        max_steps: a demonstration is cut after so many.
        seed: of the episodes and the offsets.

    Returns:
        Steps as `mile.transitions` describes them, `[steps]`: `human_action` is the scripted action, given in every
        step, `executed_action` the same with the noise.

    Raises:
        ValueError: the environment has no scripted policy.
    """
    simulator = getattr(env, "simulator", None)
    if not hasattr(simulator, "scripted"):
        raise ValueError(f"Meta-World's tasks have scripted policies, '{getattr(env, 'name', env)}' has none")
    policy, width = simulator.scripted()  # pyright: ignore
    scripted = ScriptedPolicy(policy, width, noise, bias, biased, seed)
    whole = collect_episodes(env, scripted, num_episodes, seed=seed)
    steps: Any = whole[whole["step"] < max_steps]
    steps["human_action"] = scripted.clean_actions(steps)
    steps["intervened"] = torch.ones_like(steps["intervened"])
    return steps


def clone_demonstrations(
    env: EnvBase, demonstrate: Callable[[EnvBase], TensorDict], student: Policy, *, steps: int, seed: int
) -> tuple[Policy, int]:
    """Clone what was demonstrated.

    Args:
        env: where it is demonstrated.
        demonstrate: `demonstrate` with its options.
        student: what is trained, in place.
        steps: gradient steps.
        seed: of the batches.

    Returns:
        The student, and its number of gradient steps.
    """
    shown = demonstrate(env)
    clone_policy(student, shown[student.sees], shown["human_action"], steps=steps, seed=seed)
    return student, steps


def expert_episode(env: EnvBase, expert: Policy, number: int, seed: int) -> TensorDict:
    """Let an expert show its task once.

    Args:
        env: without an `InterventionTransform`.
        expert: its actions are sampled.
        number: of the episode.
        seed: of the episodes.

    Returns:
        Steps as `mile.transitions` describes a demonstration, `[steps]`.
    """
    steps = collect_episodes(env, expert, [number], seed=seed, deterministic=False, deployment_round=DEMONSTRATION)
    steps["human_action"] = steps["robot_action"].clone()
    steps["intervened"] = torch.ones_like(steps["intervened"])
    return steps
