"""What a robot that decides on several actions at once has still to execute."""

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.policies.chunk import ChunkPolicy


class ActionQueue:
    """Executes the first actions of a chunk in each copy of an environment, and then has the policy look again.

    A human's step empties the queue, and so does a new episode: nothing is executed that was decided on before it.

    Args:
        policy: Policy that decides.
        deterministic: Take its most probable actions; otherwise sample.
    """

    def __init__(self, policy: ChunkPolicy, deterministic: bool = True) -> None:
        self.policy = policy
        self.deterministic = deterministic
        self._actions = torch.empty(0)
        self._left = self._episodes = torch.empty(0, dtype=torch.int64)

    def __call__(self, step: TensorDictBase) -> tuple[Tensor, Tensor]:
        """Return actions for a step `[*batch]`, and how many there still were in the queue, with this one.

        Args:
            step: What is observed, the number of the episode and, where a human supervises, `intervened`: whether they
                acted in the step before.
        """
        rows = step.reshape(-1)
        episodes = _episodes(rows)
        if len(self._left) != len(rows):
            self._left = torch.zeros(len(rows), dtype=torch.int64)
            self._episodes = episodes.clone()

        # where there is nothing left
        interrupted = rows.get("intervened", torch.zeros_like(episodes, dtype=torch.bool)).reshape(-1)
        empty = (self._left == 0) | interrupted | (episodes != self._episodes)
        if empty.any():
            self._fill(rows, empty)
        self._episodes = episodes.clone()

        # the next action of each copy
        remaining = self._left.clone()
        action = self._actions[torch.arange(len(rows)), self.policy.execute - remaining]
        self._left = self._left - 1
        return action.reshape(*step.batch_size, *action.shape[1:]), remaining.reshape(step.batch_size)

    def _fill(self, rows: TensorDictBase, empty: Tensor) -> None:
        """Decide anew in some copies."""
        chosen = rows[empty]
        noise = chosen.get("robot_noise", None)
        decided = self.policy.act(*self.policy.inputs(chosen), noise=noise, deterministic=self.deterministic)
        decided = decided[:, : self.policy.execute]
        if len(self._actions) != len(rows):
            self._actions = decided.new_zeros(len(rows), *decided.shape[1:])
        self._actions[empty] = decided
        self._left[empty] = self.policy.execute


def _episodes(rows: TensorDictBase) -> Tensor:
    """Return the numbers of the episodes of steps `[copies]`; those of a collector where an environment has none."""
    if "episode" in rows.keys():
        return rows["episode"]
    return rows["collector", "traj_ids"].reshape(-1)
