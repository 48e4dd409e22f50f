"""The base of HG-DAgger, IWR and Sirius: behaviour cloning, of some steps more than of others."""

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.methods.method import Loss, Method
from mile.transitions import DEMONSTRATION


class WeightedCloning(Method):
    """Clones the human's action where the human acted, and the robot's own action elsewhere.

    The loss is the mean of w · NLL. A subclass gives each step its weight w in the loss, or says how often it is drawn.
    """

    def loss(self, batch: TensorDictBase) -> Loss:
        """Return the loss for recorded steps `[batch_size]`; the entry `weight`, if there is one, is w."""
        policy = self.policy(batch["observation"])
        mask = batch["intervened"].reshape(-1, *(1,) * len(policy.event_shape))  # [batch_size], or [batch_size, 1]
        action = torch.where(mask, batch["human_action"], batch["robot_action"])

        nll = -policy.log_prob(action)  # [batch_size]
        if "weight" in batch.keys():
            nll = nll * batch["weight"]
        return Loss(nll.mean())


def interventions(steps: TensorDictBase) -> Tensor:
    """Return where a human took over from the robot, `[steps]` bool; in a demonstration nobody does."""
    return steps["intervened"] & (steps["round"] != DEMONSTRATION)
