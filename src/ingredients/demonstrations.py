"""Demonstrations of Meta-World's scripted policies, and experts and initial policies cloned from them."""

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
        policy: Function from the newest time step's numbers to an action in [−1, 1].
        width: Number of numbers in a time step, which come last in the state (in the observation where a step has no
            state).
        noise: Standard deviation of Gaussian noise on the executed action, in units of the action.
        bias: Standard deviation, m, of an offset on these numbers, drawn once for each episode.
        biased: Indices of the numbers that the offset is added to.
        seed: Seed of the offsets.
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
        self.policy = policy
        self.width = width
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
        # the newest time step, with each episode's offset
        history, episode = steps["state" if "state" in steps.keys() else "observation"], steps["episode"]
        states: Any = history[:, -self.width :].double().numpy().copy()  # [steps, width]
        offsets = {number: self._offset(number) for number in episode.unique().tolist()}
        states[:, self.biased] += np.stack([offsets[number] for number in episode.tolist()])

        # one state after the other: scripted policies know no batches
        with warnings.catch_warnings(action="ignore"):  # the suite's own, about actions beyond ±1
            actions = np.stack([self.policy(state) for state in states])
        return torch.from_numpy(actions).clamp(-1, 1).to(history.dtype)

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
    """Let the scripted policy demonstrate its task; failed episodes are kept.

    An expert is cloned from demonstrations with noise, which show how to recover. An initial policy is cloned from
    demonstrations with a bias: each aims beside the object or the goal, in a direction of its own.

    Args:
        env: Environment whose simulator has a scripted policy, as Meta-World's tasks have.
        num_episodes: Number of demonstrations.
        noise: Standard deviation of the noise on the action; see `ScriptedPolicy`.
        bias: Standard deviation of the offset, m; see `ScriptedPolicy`.
        biased: Indices of the numbers that the offset is added to; see `ScriptedPolicy`.
        max_steps: Number of steps that are kept of a demonstration; the rest is cut.
        seed: Seed of the episodes and of the offsets.

    Returns:
        Steps as `mile.transitions` describes them, `[steps]`: `human_action` is the scripted action, in every step;
        `executed_action` is the same with the noise.

    Raises:
        ValueError: The environment has no scripted policy.
    """
    simulator = getattr(env, "simulator", None)
    if not hasattr(simulator, "scripted"):
        raise ValueError(f"Meta-World's tasks have scripted policies, '{getattr(env, 'name', env)}' has none")

    # play
    policy, width = simulator.scripted()  # pyright: ignore
    scripted = ScriptedPolicy(policy, width, noise, bias, biased, seed)
    whole = collect_episodes(env, scripted, num_episodes, seed=seed)

    # cut, and label
    steps: Any = whole[whole["step"] < max_steps]
    steps["human_action"] = scripted.clean_actions(steps)
    steps["intervened"] = torch.ones_like(steps["intervened"])
    steps["attended"] = torch.ones_like(steps["intervened"])
    return steps


def clone_demonstrations(
    env: EnvBase, demonstrate: Callable[[EnvBase], TensorDict], student: Policy, *, steps: int, seed: int
) -> tuple[Policy, int]:
    """Clone demonstrations.

    Args:
        env: Environment of the demonstrations.
        demonstrate: Function that returns demonstrations in an environment, such as `demonstrate` with its options.
        student: Policy to train, in place.
        steps: Number of gradient steps.
        seed: Seed of the batches.

    Returns:
        The student, and its number of gradient steps.
    """
    demonstrations = demonstrate(env)
    clone_policy(student, demonstrations, demonstrations["human_action"], steps=steps, seed=seed)
    return student, steps


def expert_episode(env: EnvBase, expert: Policy, number: int, seed: int) -> TensorDict:
    """Let an expert demonstrate its task in one episode.

    Args:
        env: Environment without an `InterventionTransform`.
        expert: Expert, whose actions are sampled.
        number: Number of the episode.
        seed: Seed of the episodes.

    Returns:
        Steps as `mile.transitions` describes a demonstration, `[steps]`.
    """
    steps = collect_episodes(env, expert, [number], seed=seed, deterministic=False, deployment_round=DEMONSTRATION)
    steps["human_action"] = steps["robot_action"].clone()
    steps["intervened"] = torch.ones_like(steps["intervened"])
    steps["attended"] = torch.ones_like(steps["intervened"])
    return steps
