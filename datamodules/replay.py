"""Recorded steps as minibatches for off-policy reinforcement learning, rewarded by interventions (RLIF)."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

from mile.datamodules.intervention import InterventionDataModule
from mile.transitions import DEMONSTRATION, attended, decided, for_torchrl

REWARDED = ("intervened", "attended", "asked", "round", "episode")  # what rewards depend on


class ReplayDataModule(InterventionDataModule):
    """Serves one batch `[updates_per_step, batch_size]` for each environment step of the newest deployment round.

    The task's own reward is not in them. Where there are demonstrations, half of each minibatch is drawn from these.
    With one epoch a round, a learner makes `updates_per_step` updates for each step that was made (the UTD ratio).

    Args:
        arguments: Arguments of `InterventionDataModule`. Without `batches_per_epoch` there is one batch for each new
            step.
        updates_per_step: Number of minibatches in a batch.
        options: Keyword arguments of `InterventionDataModule`.
    """

    def __init__(self, *arguments: Any, updates_per_step: int = 4, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if updates_per_step < 1:
            raise ValueError(f"updates_per_step must be at least 1, got {updates_per_step}")
        self.updates_per_step = updates_per_step

    def batches(self) -> Iterator[TensorDict]:
        """Yield the next epoch's batches of transitions: observation, action and the next step, `success` included."""
        rank, ranks = self.share()
        generator = self.next_generator(rank)
        deployed = [episode for episode in self.episodes() if episode.round != DEMONSTRATION]
        if not deployed:
            return

        # deployed steps, and how many of them are new
        newest_round = deployed[-1].round
        new_steps = sum(episode.length for episode in deployed if episode.round == newest_round)
        replay = self._replay(self.buffer.rows({episode.round for episode in deployed}), generator)

        # demonstrations, half of each minibatch
        demonstrated_rows = self.buffer.rows([DEMONSTRATION])
        demonstrations = self._replay(demonstrated_rows, generator) if len(demonstrated_rows) else None
        half = self.batch_size // 2 if demonstrations else 0

        # minibatches, [updates_per_step, batch_size]
        for _ in range(math.ceil((self.batches_per_epoch or new_steps) / ranks)):
            parts = [self._draw(replay, self.batch_size - half)]
            if demonstrations:
                parts.append(self._draw(demonstrations, half))
            yield torch.cat(parts, 1)  # pyright: ignore

    def _replay(self, rows: Tensor, generator: torch.Generator) -> TensorDictReplayBuffer:
        """Return a replay buffer of the rows that a human attended, each rewarded by interventions."""
        replay = TensorDictReplayBuffer(storage=LazyTensorStorage(len(rows)), generator=generator)
        steps: Any = self.buffer.steps.select(*REWARDED)[rows]
        rewarded = TensorDict({"row": rows, "reward": intervention_rewards(steps)}, [len(rows)])
        replay.extend(rewarded[attended(steps)])  # pyright: ignore
        return replay

    def _draw(self, replay: TensorDictReplayBuffer, size: int) -> TensorDictBase:
        """Return transitions `[updates_per_step, size]` that are drawn from a replay buffer of rows."""
        drawn: Any = replay.sample(self.updates_per_step * size)
        steps: Any = self.at(drawn["row"]).cpu()
        observed = [key for key in steps["next"].keys() if key in steps.keys()]
        transitions = for_torchrl(steps, observed, drawn["reward"])
        transitions["next", "success"] = steps["next", "success"]
        return transitions.reshape(self.updates_per_step, -1)


def intervention_rewards(steps: TensorDictBase) -> Tensor:
    """Return −1 for the step just before the first one of each intervention, 0 elsewhere, `[steps]`.

    An intervention that was asked for is no reproach.

    Args:
        steps: Whole episodes, in order, `[steps]`.

    Source: Luo et al., "RLIF: Interactive imitation learning as reinforcement learning", ICLR 2024.
    """
    intervened = steps["intervened"]
    onset = intervened[1:] & ~intervened[:-1] & decided(steps)[1:]
    same = (steps["round"][1:] == steps["round"][:-1]) & (steps["episode"][1:] == steps["episode"][:-1])
    return -torch.cat([onset & same, torch.zeros(1, dtype=torch.bool)]).float()
