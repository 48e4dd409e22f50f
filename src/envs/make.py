"""Environments by name."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torchrl.envs import GymWrapper

from mile.envs.episodes import EpisodeSchedule, ScheduledEpisodes


class ScheduledEnv(GymWrapper):
    """A batch of copies of one Gymnasium environment that plays a schedule of episodes; made by `make_env`."""

    name: str

    @property
    def schedule(self) -> EpisodeSchedule:
        """The schedule that all copies share."""
        return self._env.envs[0].schedule

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
