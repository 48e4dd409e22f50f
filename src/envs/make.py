"""Environments by name."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from torchrl.data import Categorical
from torchrl.envs import EnvBase, GymWrapper

from mile.envs.episodes import EpisodeSchedule, ScheduledEpisodes
from mile.policies import CategoricalPolicy, GaussianPolicy, Policy


class ScheduledEnv(GymWrapper):
    """A batch of copies of one Gymnasium environment that plays a schedule of episodes; made by `make_env`."""

    name: str

    @property
    def schedule(self) -> EpisodeSchedule:
        """The schedule that all copies share."""
        return self._env.envs[0].schedule

    def render(self) -> NDArray[np.uint8]:
        """Return a picture of the first copy, `[height, width, 3]`; needs `render_mode="rgb_array"`."""
        return self._env.envs[0].render()

    def _set_seed(self, seed: int | None) -> None:
        self.schedule.start(0 if seed is None else seed)


ENVIRONMENTS: dict[str, Callable[..., gym.Env]] = {"lunarlander": partial(gym.make, "LunarLander-v3")}


def make_env(name: str, num_envs: int = 1, seed: int = 0, **options: Any) -> ScheduledEnv:
    """Make a batched environment.

    Args:
        name: "lunarlander", or any Gymnasium id with a vector observation.
        num_envs: number of copies that step together.
        seed: seed of the episodes; episode i of a seed is the same for every num_envs.
        options: passed to the simulator's constructor, such as `render_mode="rgb_array"`.

    Returns:
        A TorchRL environment of batch size `[num_envs]`.

    Raises:
        ValueError: the name is unknown, or num_envs is below 1.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    if name not in ENVIRONMENTS and name not in gym.registry:
        raise ValueError(f"unknown environment '{name}'; expected {', '.join(ENVIRONMENTS)} or a Gymnasium id")
    factory = partial(ENVIRONMENTS.get(name, partial(gym.make, name)), disable_env_checker=True, **options)
    schedule = EpisodeSchedule(seed)
    copies = [lambda: ScheduledEpisodes(factory(), schedule)] * num_envs
    vector = SyncVectorEnv(copies, autoreset_mode=AutoresetMode.DISABLED)
    env = ScheduledEnv(vector, categorical_action_encoding=True)
    env.name = name
    return env


def make_policy(env: EnvBase, hidden_dims: Sequence[int], **options: Any) -> Policy:
    """Make a policy with random weights that fits an environment's observations and actions.

    Args:
        env: decides between a `CategoricalPolicy` and a `GaussianPolicy`.
        hidden_dims: widths of the hidden layers (Table I).
        options: further arguments of the policy.
    """
    kind, observation_dim, action_dim = policy_kind(env)
    return kind(observation_dim, action_dim, hidden_dims, **options)


def policy_kind(env: EnvBase) -> tuple[type[CategoricalPolicy] | type[GaussianPolicy], int, int]:
    """Return the class of policy that fits an environment, and its observation_dim and action_dim."""
    observation_dim = env.observation_spec["observation"].shape[-1]
    action = env.action_spec
    if isinstance(action, Categorical):
        return CategoricalPolicy, observation_dim, int(action.n)
    return GaussianPolicy, observation_dim, action.shape[-1]
