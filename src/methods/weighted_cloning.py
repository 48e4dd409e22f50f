"""What HG-DAgger, IWR and Sirius have in common: behaviour cloning, of some steps more than of others."""

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.methods.method import Loss, Method
from mile.transitions import DEMONSTRATION


class WeightedCloning(Method):
    """Mean of w · NLL of the human's action where they acted and of the robot's own elsewhere."""

    def loss(self, batch: TensorDictBase) -> Loss:
        """Return the loss for recorded steps `[batch_size]`; `weight`, if there is one, is w."""
        policy = self.policy(batch["observation"])
        shown = batch["intervened"].reshape(-1, *(1,) * len(policy.event_shape))
        nll = -policy.log_prob(torch.where(shown, batch["human_action"], batch["robot_action"]))
        return Loss((nll * batch["weight"] if "weight" in batch.keys() else nll).mean())


def interventions(steps: TensorDictBase) -> Tensor:
    """Return `[steps]` bool: where a human took over from the robot; in a demonstration nobody does."""
    return steps["intervened"] & (steps["round"] != DEMONSTRATION)
