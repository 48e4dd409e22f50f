"""Residual: correct a frozen policy, where a human is expected to."""

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mile.losses import InterventionLoss, action_nll
from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.policies import ResidualPolicy
from mile.transitions import DEMONSTRATION, decided


class Residual(Method):
    """Learns what the human's action adds to that of the frozen initial policy, and when a human intervenes.

    Where the human acted, a mixture of Gaussians learns a_h less the frozen policy's action; for discrete actions
    (ours) logits that are added to the frozen ones learn a_h. A head learns to predict ν in all deployed steps in which
    the human decided. In deployment the residual acts where the head predicts ν=1.

    Args:
        policy: Policy to learn, made from the initial one by `ResidualPolicy.of`.
        optimizer: Function that makes the optimiser from the parameters.

    Raises:
        ValueError: The policy is no `ResidualPolicy`.

    Source: Jiang et al., "Transic: Sim-to-real policy transfer by learning from online correction", CoRL 2024.
    """

    policy: ResidualPolicy

    def __init__(self, policy: ResidualPolicy, optimizer: MakeOptimizer = ADAM) -> None:
        if not isinstance(policy, ResidualPolicy):
            raise ValueError(
                f"Residual needs a ResidualPolicy, got a {type(policy).__name__}; ResidualPolicy.of(policy) makes one"
            )
        super().__init__(policy, optimizer)

    def loss(self, batch: TensorDictBase) -> InterventionLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        observed, acted = self.policy.inputs(batch), batch["intervened"]
        deployed = (batch["round"] != DEMONSTRATION) & decided(batch)

        # when
        logit = self.policy.intervention_logit(*observed)
        bce = binary_cross_entropy_with_logits(logit, acted.float(), reduction="none")
        intervention_loss = torch.where(deployed, bce, 0.0).sum() / self.count(deployed).clamp_min(1e-9)

        # how: the frozen policy's action is subtracted from the human's
        target = batch["human_action"]
        if not self.policy.is_discrete:
            target = target - self.policy.base_action(*observed)
        policy_loss = action_nll(self.policy.residual(*observed), target, acted, self.count(acted))

        return InterventionLoss(intervention_loss + policy_loss, intervention_loss, policy_loss)

    @torch.no_grad()
    def intervention_prob(self, steps: TensorDictBase) -> Tensor:
        """Return the predicted p(ν=1|s), `[*batch]`."""
        return self.policy.intervention_logit(*self.policy.inputs(steps)).sigmoid()

    def predict(self, steps: TensorDictBase) -> Tensor:
        """Return p(ν=1|s), `[steps]` float64, whatever ν was before."""
        return self.intervention_prob(self.observed(steps)).cpu().double()
