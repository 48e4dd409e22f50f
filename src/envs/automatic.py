"""A player that uses the cores that there are, as soon as that pays."""

import sys
import time

import torch
from torchrl.envs import EnvBase, TransformedEnv

from mile.envs.make import ScheduledEnv
from mile.envs.players import Batches, InProcess, MultiProcess, Player, RobotPolicy


class Automatic:
    """Plays in this process at first; once that has taken long, worker processes share the episodes.

    The episodes are the same. There is a worker for each of PyTorch's threads: OMP_NUM_THREADS, or all cores. They need
    Linux, and an environment of `make_env`.

    Args:
        patience: Time that playing in this process takes in all before there are workers, s; to start them takes 4 to
            10 s.
    """

    def __init__(self, patience: float = 10.0) -> None:
        self.patience = patience
        self.seconds = 0.0
        self.workers: MultiProcess | None = None

    def play(self, env: EnvBase, robot: RobotPolicy, seed: int | None, episodes: list[int]) -> Batches:
        """Play; see `Player.play`."""
        player, threads = self._player(env, len(episodes)), torch.get_num_threads()
        begin = time.monotonic()
        torch.set_num_threads(1)  # as workers have, so that rounding does not depend on who plays
        try:
            yield from player.play(env, robot, seed, episodes)
        finally:
            torch.set_num_threads(threads)
            self.seconds += time.monotonic() - begin

    def _player(self, env: EnvBase, num_episodes: int) -> Player:
        """Return who plays so many episodes."""
        cores = torch.get_num_threads()
        bare = env.base_env if isinstance(env, TransformedEnv) else env
        if self.seconds < self.patience or num_episodes < cores or cores == 1:
            return InProcess()
        if sys.platform != "linux" or not isinstance(bare, ScheduledEnv):
            return InProcess()
        if self.workers is None:
            self.workers = MultiProcess(cores)
        return self.workers

    def close(self) -> None:
        """End the workers."""
        if self.workers is not None:
            self.workers.close()
