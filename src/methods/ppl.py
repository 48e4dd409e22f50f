"""PPL: clone the human's action, and prefer it to what the robot would have done."""

from typing import Any, NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor

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

    The preference is ln F(β ln π(a_h|s) − b β ln π(a_r|s)) with a logistic F. Steps with ν=0 are discarded.
    Demonstrations are cloned.

    Args:
        policy: Policy π_θ, at first the initial policy.
        cloning_weight: Weight w of the NLL of a_h.
        beta: Factor β of both log-probabilities, above 0.
        robot_weight: Factor b of the robot's, at least 0.
        optimizer: Function that makes the optimiser from the parameters.

    Raises:
        ValueError: A number is out of its range.

    Source: Zhang et al., "Predictive preference learning from human interventions", NeurIPS 2025.
    """

    def __init__(
        self,
        policy: Policy,
        cloning_weight: float = 1.0,
        beta: float = 0.1,
        robot_weight: float = 1.0,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta}")
        for name, value in (("cloning_weight", cloning_weight), ("robot_weight", robot_weight)):
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        self.save_hyperparameters("cloning_weight", "beta", "robot_weight")
        self.cloning_weight = cloning_weight
        self.beta = beta
        self.robot_weight = robot_weight

    def sampling_weights(self, steps: TensorDictBase) -> Tensor:
        """Return 1 where the human acted, 0 elsewhere, `[steps]`."""
        return steps["intervened"].float()

    def loss(self, batch: TensorDictBase) -> PreferenceLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        policy: Any = self.policy(batch["observation"])
        human_action, acted = batch["human_action"], batch["intervened"]
        policy_loss = action_nll(policy, human_action, acted, self.count(acted))

        # of the steps in which the robot would have acted otherwise
        took_over = interventions(batch)
        chosen = self.beta * policy.log_prob(valid_action(policy, human_action, took_over))
        rejected = self.robot_weight * self.beta * policy.log_prob(batch["robot_action"])
        log_prob = torch.where(took_over, preference_log_prob(chosen, rejected), 0.0)
        preference_loss = -log_prob.sum() / self.count(took_over).clamp_min(1e-9)

        return PreferenceLoss(self.cloning_weight * policy_loss + preference_loss, policy_loss, preference_loss)
