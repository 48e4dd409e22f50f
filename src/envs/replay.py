"""Recorded attempts played again, to see what another action would have led to."""

from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.envs.episodes import EpisodeSchedule, ScheduledEpisodes
from mile.envs.make import simulator

TOLERANCE = 1e-4  # of observations; a simulator that is played again in the same build repeats them bit for bit


class Replay:
    """Predicts what follows an action that is held, by a copy of the simulator.

    Few simulators can be copied as they are, but all that are deterministic can be played again: from the episode's
    seed and the executed actions up to a step. A prediction costs that many steps of the simulator.

    Args:
        name: Name of the environment; see `mile.envs.make_env`. The simulator is made with the first prediction.
        seed: Seed of the recorded episodes.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.schedule = EpisodeSchedule(seed)
        self._env: ScheduledEpisodes | None = None

    def ahead(self, steps: TensorDictBase, where: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
        """Return the states that would have followed if the robot's proposed action had been held.

        Args:
            steps: Recorded steps of whole attempts of the environment, one after another, `[steps]`.
            where: Steps to predict from, `[steps]` bool.
            horizon: Number of steps that the action is held for.

        Returns:
            Observations `[steps, horizon, observation_dim]`, and whether each was reached before the attempt's end,
            `[steps, horizon]` bool. Elsewhere observations are 0, and false.

        Raises:
            ValueError: The environment has no simulator to copy, or does not repeat what was recorded.
        """
        if "observation" not in steps.keys():
            raise ValueError(f"'{self.name}' shows no vector to predict; choose method.horizon=0")
        observation: Tensor = steps["observation"].cpu()
        states = torch.zeros(len(steps), horizon, observation.shape[-1], dtype=observation.dtype)
        reached = torch.zeros(len(steps), horizon, dtype=torch.bool)
        starts = (torch.arange(len(steps)) - steps["step"].cpu()).tolist()  # rows of the attempts' first steps
        for row in where.cpu().nonzero().squeeze(-1).tolist():
            self._go_to(steps, starts[row], row)
            action = self._action(steps["robot_action"][row])
            for number in range(horizon):
                following, _, terminated, truncated, _ = self._simulator().step(action)
                states[row, number] = torch.from_numpy(following["observation"])
                reached[row, number] = True
                if terminated or truncated:
                    break
        return states, reached

    def _simulator(self) -> ScheduledEpisodes:
        """Return the copy; it is made once."""
        if self._env is None:
            try:
                self._env = ScheduledEpisodes(simulator(self.name)(), self.schedule)
            except (TypeError, ValueError) as error:  # such as an arm, whose desk is missing
                raise ValueError(
                    f"no copy of the simulator of '{self.name}' can be made; choose method.horizon=0"
                ) from error
        return self._env

    def _go_to(self, steps: TensorDictBase, start: int, row: int) -> None:
        """Play an attempt again, from its first row to just before another one's action."""
        env, episode = self._simulator(), int(steps["episode"][row])
        self.schedule.start(self.schedule.seed, [episode])
        observed = env.reset()[0]["observation"]
        for action in steps["executed_action"][start:row]:
            observed = env.step(self._action(action))[0]["observation"]

        recorded: Any = steps["observation"][row].cpu().numpy()
        if not np.allclose(observed, recorded, atol=TOLERANCE):
            raise ValueError(
                f"episode {episode} of '{self.name}' with seed {self.schedule.seed} is not what was recorded: step "
                f"{int(steps['step'][row])} differs by {np.abs(observed - recorded).max():.2g}; choose the seed of "
                "the recording, or method.horizon=0"
            )

    def _action(self, action: Tensor) -> Any:
        """Return an action as the simulator takes it."""
        if not action.is_floating_point():
            return int(action)
        space: Any = self._simulator().action_space
        return np.clip(action.cpu().numpy(), space.low, space.high)
