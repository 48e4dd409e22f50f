"""PPL: clone the human's action, and prefer it to what the robot would have done."""

from typing import Any, NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from mile.envs.replay import Replay
from mile.losses import action_nll, valid_action
from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.methods.onsets import interventions
from mile.policies import Policy
from mile.preference import preference_log_prob


class PreferenceLoss(NamedTuple):
    """The terms of a loss, each a scalar.

    Attributes:
        loss: Sum that is minimised.
        policy_loss: Mean NLL of a_h where the human acted, nats.
        preference_loss: Mean negative log-probability that a_h is preferred to a_r, nats.
    """

    loss: Tensor
    policy_loss: Tensor
    preference_loss: Tensor


class PPL(Method):
    """Clones the human where they acted; where they took over from the robot, prefers their action to the robot's.

    The preference is ln F(β ln π(a_h|s̃) − b β ln π(a_r|s̃)) with a logistic F, in states s̃ that holding the robot's
    action would have led to; without predictions, in the state itself. Steps with ν=0 are discarded. Demonstrations are
    cloned.

    Args:
        policy: Policy π_θ, at first the initial policy.
        cloning_weight: Weight w of the NLL of a_h.
        beta: Factor β of both log-probabilities, above 0.
        robot_weight: Factor b of the robot's, at least 0.
        horizon: Number of predicted states in which a_h is preferred (the paper's L); 0: none are predicted.
        replay: What predicts them; needed with a horizon.
        optimizer: Function that makes the optimiser from the parameters.

    Raises:
        ValueError: A number is out of its range.

    Source: Zhang et al., "Predictive preference learning from human interventions", NeurIPS 2025.
    """

    reads = (*Method.reads, "executed_action")  # by which an attempt is played again

    @classmethod
    def needs_proposals(cls, is_discrete: bool) -> bool:
        """Return whether it needs what the robot proposed; see `Method.needs_proposals`."""
        return True

    def __init__(
        self,
        policy: Policy,
        cloning_weight: float = 1.0,
        beta: float = 0.1,
        robot_weight: float = 1.0,
        horizon: int = 0,
        replay: Replay | None = None,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta}")
        for name, value in (("cloning_weight", cloning_weight), ("robot_weight", robot_weight)):
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if horizon < 0 or (horizon and replay is None):
            raise ValueError(f"horizon (states) must be at least 0, and above 0 there must be a replay, got {horizon}")
        self.save_hyperparameters("cloning_weight", "beta", "robot_weight", "horizon")
        self.cloning_weight = cloning_weight
        self.beta = beta
        self.robot_weight = robot_weight
        self.horizon = horizon
        self.replay = replay
        self._predictions: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}  # by round and episode

    @property
    def needs_attempts(self) -> bool:
        """Whether states are predicted."""
        return self.horizon > 0

    def context(self, steps: TensorDictBase) -> TensorDict:
        """Return the states predicted at each of the steps `[steps]` of whole attempts, and which of them there are.

        Raises:
            ValueError: The simulator cannot be copied, or does not repeat what was recorded.
        """
        assert self.replay is not None
        attempts = torch.stack([steps["round"], steps["episode"]], -1).cpu()
        numbers, lengths = attempts.unique_consecutive(dim=0, return_counts=True)
        predictions = []
        for (round_, episode), attempt in zip(numbers.tolist(), steps.split(lengths.tolist()), strict=True):
            key = round_, episode
            if key not in self._predictions:
                self._predictions[key] = self.replay.ahead(attempt, interventions(attempt), self.horizon)
            predictions.append(self._predictions[key])
        states, reached = (torch.cat(parts) for parts in zip(*predictions, strict=True))
        return TensorDict({"states": states, "reached": reached}, [len(steps)])

    def sampling_weights(self, steps: TensorDictBase) -> Tensor:
        """Return 1 where the human acted, 0 elsewhere, `[steps]`."""
        return steps["intervened"].float()

    def loss(self, batch: TensorDictBase) -> PreferenceLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        policy: Any = self.policy.at(batch)
        human_action, acted = batch["human_action"], batch["intervened"]
        policy_loss = action_nll(policy, human_action, acted, self.count(acted))

        preference_loss = self._preference_loss(policy, batch)
        return PreferenceLoss(self.cloning_weight * policy_loss + preference_loss, policy_loss, preference_loss)

    def _preference_loss(self, policy: Any, batch: TensorDictBase) -> Tensor:
        """Return the mean negative log-probability that a_h is preferred to a_r, where the human took over."""
        where, robot_action = interventions(batch), batch["robot_action"]
        human_action = valid_action(policy, batch["human_action"], where)
        if self.horizon:  # in each of the predicted states, [batch_size, states]
            policy = self.policy(batch["context", "states"])
            human_action, robot_action = human_action.unsqueeze(1), robot_action.unsqueeze(1)
            where = where.unsqueeze(1) & batch["context", "reached"]

        chosen = self.beta * policy.log_prob(human_action)
        rejected = self.robot_weight * self.beta * policy.log_prob(robot_action)
        log_prob = torch.where(where, preference_log_prob(chosen, rejected), 0.0)
        return -log_prob.sum() / self.count(where).clamp_min(1e-9)
