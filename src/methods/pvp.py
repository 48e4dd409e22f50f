"""PVP: the human's actions are worth +1, the robot's that they replaced −1, and the values travel back in time."""

from typing import Any, Literal, NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.methods.onsets import first_of_interventions, half_interventions, interventions
from mile.policies import Policy
from mile.policies.sampling import mode
from mile.rl.critic import Critic
from mile.transitions import action_taken


class ValueLoss(NamedTuple):
    """The terms of a loss, each a scalar.

    Attributes:
        loss: Sum that is minimised.
        td_loss: Half the squared TD error, without a reward.
        proxy_loss: Squared distance of the human's and the robot's values from +B and −B.
        actor_loss: Minus the value of the policy's own actions; 0 if actions are discrete.
    """

    loss: Tensor
    td_loss: Tensor
    proxy_loss: Tensor
    actor_loss: Tensor


class PVP(Method):
    """Learns values without a reward, by deep Q-learning or TD3, from proxies where the human intervened.

    Where ν=1 the human's action is to be worth B and the robot's −B. TD errors with the reward 0 spread these values to
    the steps before; the step in which an intervention begins has none. Half of a batch are interventions, in
    expectation. Demonstrations are transitions, without a proxy.

    The policy learns in every step; TD3 has it learn in every second one.

    Args:
        policy: Policy π_θ, at first the initial policy; if actions are continuous, one with `squash=True`.
        bound: Value B of the human's actions, above 0.
        mask: "meant": proxies where ν=1. "released": as in the published code, where the mask multiplies a loss that
            was averaged before, so that the proxies are of all steps, times the share of steps with ν=1.
        discount: Discount factor γ.
        target_rate: Rate τ of the target networks' moving averages.
        optimizer: Function that makes the optimiser from the parameters of all networks.

    Raises:
        ValueError: A number is out of its range, the mask is unknown, or continuous actions are not bounded.

    Source: Peng et al., "Learning from active human involvement through proxy value propagation", NeurIPS 2023.
    """

    reads = (*Method.reads, ("next", "observation"), ("next", "terminated"))
    needs_attempts = True

    @classmethod
    def needs_proposals(cls, is_discrete: bool) -> bool:
        """Return whether it needs what the robot proposed; see `Method.needs_proposals`."""
        return True

    def __init__(
        self,
        policy: Policy,
        bound: float = 1.0,
        mask: Literal["meant", "released"] = "meant",
        discount: float = 0.99,
        target_rate: float = 5e-3,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        if not bound > 0:
            raise ValueError(f"bound (B) must be above 0, got {bound}")
        if mask not in ("meant", "released"):
            raise ValueError(f"mask must be 'meant' or 'released', got '{mask}'")
        self.save_hyperparameters("bound", "mask", "discount", "target_rate")
        self.bound = bound
        self.mask = mask
        self.critic = Critic(policy, discount=discount, target_rate=target_rate)

    def sampling_weights(self, steps: TensorDictBase) -> Tensor:
        """Return weights by which half of the steps that are drawn are interventions, `[steps]`."""
        return half_interventions(steps)

    def context(self, steps: TensorDictBase) -> TensorDict:
        """Return where an intervention begins, for steps `[steps]` of whole attempts."""
        return TensorDict({"onset": first_of_interventions(steps, 1)}, [len(steps)])

    def loss(self, batch: TensorDictBase) -> ValueLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        values = self.critic(batch, action_taken(batch))  # [critics, batch_size]

        # TD errors, not across an onset
        error = 0.5 * (values - self.critic.target(batch)).square().sum(0)
        td_loss = torch.where(batch["context", "onset"], 0.0, error).mean()

        # proxies
        of_robot = self.critic(batch, batch["robot_action"])
        proxy = ((values - self.bound).square() + (of_robot + self.bound).square()).sum(0)
        took_over = interventions(batch)
        if self.mask == "released":
            proxy_loss = proxy.mean() * self.joint_mean(took_over.float().mean())
        else:
            proxy_loss = torch.where(took_over, proxy, 0.0).mean()

        actor_loss = self._actor_loss(batch)
        return ValueLoss(td_loss + proxy_loss + actor_loss, td_loss, proxy_loss, actor_loss)

    def _actor_loss(self, batch: TensorDictBase) -> Tensor:
        """Return minus the mean value of the policy's actions, with gradients to the policy alone."""
        if self.critic.is_discrete:
            return torch.zeros((), device=batch.device)
        return -self.critic.fixed(batch, mode(self.policy.at(batch)))[0].mean()

    def on_train_batch_end(self, outputs: Any, batch: TensorDictBase, batch_idx: int) -> None:
        """Move the target networks; called after each step of the optimiser."""
        self.critic.update_average()
