"""Episodes that depend on their seed and number alone, not on the copy, the batch or the process that plays them."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mile.envs.observations import Observed
from mile.transitions import TransitionError

PARKED = -1  # number of the episode of a copy that has none left to play


class EpisodeSchedule:
    """Gives the copies of one environment the numbers of the episodes that they play next, in order.

    Args:
        seed: Seed of all the episodes.
    """

    seed: int
    _pending: Iterator[int]

    def __init__(self, seed: int) -> None:
        self.start(seed)

    def start(self, seed: int, episodes: Iterable[int] | None = None) -> None:
        """Schedule these episodes of the seed (by default 0, 1, 2, … without end), then PARKED."""
        self.seed = seed
        self._pending = iter(itertools.count() if episodes is None else episodes)

    def next(self) -> int:
        """Return the number of the next episode; PARKED if none is left."""
        return next(self._pending, PARKED)


class ScheduledEpisodes(gym.Wrapper):
    """Plays scheduled episodes, and adds to the simulator's observation what else belongs to an episode.

    Each `reset` takes the schedule's next episode and seeds the simulator from (seed, episode). A copy that has
    none left is parked: its steps do nothing and cost nothing, while the others finish. The observation is a dict of

    * what the simulator shows: `observation`, or the entries of `Observed`;
    * `episode`: the episode's number, −1 when parked;
    * `robot_noise`: fresh uniform numbers in [0, 1) for sampling the robot's action, one for each of its parts;
    * `human_noise`: the same for a simulated human, after one number for the decision to intervene;
    * `success`: whether the last step solved the task: the simulator's `info["success"]`, or, where the task's metric
      is the return, whether the episode ended with a return of at least `reward_threshold`;
    * the entries that the simulator's `reports` declares, by name and space, and that it puts into `info`:
      `executed_action`, the action that was really executed, and the entries of `mile.transitions.REPORTED`.

    Args:
        env: One simulator.
        schedule: Schedule that all copies of the simulator share.
        stack: Number of newest pictures in an observation; see `Observed`.
    """

    def __init__(self, env: gym.Env, schedule: EpisodeSchedule, stack: int = 1) -> None:
        super().__init__(env)
        self.schedule = schedule
        self.episode = PARKED
        self.episode_return = 0.0
        self.threshold = env.spec.reward_threshold if env.spec else None
        self.rng = np.random.default_rng(0)

        # before the first reset
        action = env.action_space
        self.observed = Observed(env.observation_space, stack)
        self.action_parts = action.shape[0] if isinstance(action, gym.spaces.Box) else 1
        self.last = self.observed.nothing()
        reports: dict[str, gym.spaces.Box] = getattr(env.unwrapped, "reports", {})
        self.reported: dict[str, NDArray[Any]] = {}
        for name, report in reports.items():
            self.reported[name] = np.zeros(report.shape, report.dtype)

        # without an observation TorchRL would rename a state to one: here it has no numbers
        self.placeholder: dict[str, NDArray[Any]] = {}
        if "state" in reports and "observation" not in self.last:
            self.placeholder["observation"] = np.zeros(0, np.float32)

        # space of the observations
        spaces: dict[str, gym.Space] = {
            **self.observed.spaces,
            "episode": gym.spaces.Box(PARKED, np.iinfo(np.int64).max, (), np.int64),
            "robot_noise": gym.spaces.Box(0, 1, (self.action_parts,), np.float32),
            "human_noise": gym.spaces.Box(0, 1, (1 + self.action_parts,), np.float32),
            "success": gym.spaces.Box(0, 1, (), np.bool_),  # pyright: ignore
        }
        for name, value in self.placeholder.items():
            spaces[name] = gym.spaces.Box(0, 0, value.shape, np.float32)
        self.observation_space = gym.spaces.Dict(spaces | reports)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, Any], dict]:
        """Start the schedule's next episode; `seed` is ignored, because the schedule has its own."""
        self.episode = self.schedule.next()
        self.episode_return = 0.0
        if self.episode != PARKED:
            self.rng = np.random.default_rng((self.schedule.seed, self.episode))
            observation, info = self.env.reset(seed=int(self.rng.integers(2**31)), options=options)
            self.last = self.observed.begin(observation)
            self._keep_reports(info)
        return self._observe(success=False), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict]:
        """Step the simulator, unless parked.

        Raises:
            TransitionError: The action is not finite.
        """
        if self.episode == PARKED:
            return self._observe(success=False), 0.0, False, False, {}
        if not np.isfinite(action).all():
            raise TransitionError(f"an action must be finite, got {action} in episode {self.episode}")

        observation, reward, terminated, truncated, info = self.env.step(action)
        self.last = self.observed.entries(observation)
        self.episode_return += float(reward)
        self._keep_reports(info)
        success = bool(info.get("success", False))
        if self.threshold is not None and (terminated or truncated):
            success = self.episode_return >= self.threshold
        return self._observe(success), float(reward), terminated, truncated, {}

    def _keep_reports(self, info: dict[str, Any]) -> None:
        for name in self.reported.keys() & info.keys():
            self.reported[name] = info[name]

    def _observe(self, success: bool) -> dict[str, Any]:
        noise = self.rng.random(1 + 2 * self.action_parts, dtype=np.float32)
        return {
            **self.placeholder,
            **self.reported,
            **self.last,
            "episode": self.episode,
            "robot_noise": noise[: self.action_parts],
            "human_noise": noise[self.action_parts :],
            "success": success,
        }
