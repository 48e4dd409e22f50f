"""HACO: soft actor-critic without a reward, with values by comparison, and a cost of being taken over."""

from typing import Any, NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.methods.onsets import first_of_interventions, half_interventions, interventions
from mile.policies import Policy
from mile.rl.critic import Critic
from mile.transitions import action_taken, decided


class ComparisonLoss(NamedTuple):
    """The terms of a loss, each a scalar.

    Attributes:
        loss: Sum that is minimised.
        td_loss: Half the squared TD error of the values, without a reward.
        advantage: Mean of Q(s, a_h) − Q(s, a_r) where ν=1, which is to grow.
        takeover_loss: Half the squared TD error of the takeovers' costs; 0 if actions are discrete.
        actor_loss: Loss of policy and temperature; 0 if actions are discrete.
    """

    loss: Tensor
    td_loss: Tensor
    advantage: Tensor
    takeover_loss: Tensor
    actor_loss: Tensor


class HACO(Method):
    """Values the human's actions above the robot's that they replaced, and avoids to be taken over.

    The step in which an intervention begins costs 1 − cos(a_h, a_r), unless a gate asked for it. Half of a batch are
    interventions, in expectation.

    Continuous actions: soft actor-critic without a reward, whose actor's loss adds a second critic's estimate of the
    costs to come. Discrete ones (ours): deep Q-learning in which an onset costs 1 if the human acted otherwise.

    Args:
        policy: Policy π_θ, at first the initial policy; if actions are continuous, one with `squash=True`.
        human_weight: Weight k of the difference between the human's and the robot's value, at least 0.
        temperature: Temperature at first; it is then learnt for an entropy of −d nats in d dimensions.
        discount: Discount factor γ.
        target_rate: Rate τ of the target networks' moving averages.
        optimizer: Function that makes the optimiser from the parameters of all networks.

    Raises:
        ValueError: A number is out of its range, or continuous actions are not bounded.

    Source: Li et al., "Efficient learning of safe driving policy via human-AI copilot optimization", ICLR 2022.
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
        human_weight: float = 1.0,
        temperature: float = 0.1,
        discount: float = 0.99,
        target_rate: float = 5e-3,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        if not human_weight >= 0:
            raise ValueError(f"human_weight (k) must be at least 0, got {human_weight}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.save_hyperparameters("human_weight", "temperature", "discount", "target_rate")
        self.human_weight = human_weight
        self.critic = Critic(policy, discount=discount, target_rate=target_rate)
        self.takeover_critic: Critic | None = None
        if not self.critic.is_discrete:
            self.takeover_critic = Critic(policy, count=1, discount=discount, target_rate=target_rate)
            self.log_temperature = nn.Parameter(torch.tensor(temperature).log())

    def sampling_weights(self, steps: TensorDictBase) -> Tensor:
        """Return weights by which half of the steps that are drawn are interventions, `[steps]`."""
        return half_interventions(steps)

    def context(self, steps: TensorDictBase) -> TensorDict:
        """Return where an intervention begins, for steps `[steps]` of whole attempts."""
        return TensorDict({"onset": first_of_interventions(steps, 1)}, [len(steps)])

    def loss(self, batch: TensorDictBase) -> ComparisonLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        action, took_over = action_taken(batch), interventions(batch)
        cost = takeover_cost(action, batch["robot_action"], batch["context", "onset"] & decided(batch))
        values = self.critic(batch, action)  # [critics, batch_size]

        # the human's action against the robot's
        gain = (values - self.critic(batch, batch["robot_action"])).sum(0)
        advantage = torch.where(took_over, gain, 0.0).mean()

        # discrete actions: the cost is a reward
        zero = torch.zeros((), device=cost.device)
        if self.takeover_critic is None:
            td_loss = 0.5 * (values - (self.critic.target(batch) - cost)).square().sum(0).mean()
            return ComparisonLoss(td_loss - self.human_weight * advantage, td_loss, advantage, zero, zero)

        # continuous ones: two critics, and an actor
        with torch.no_grad():
            next_action, log_prob = self._draw(batch["next"])
        entropy = -self.log_temperature.exp().detach() * log_prob
        td_loss = 0.5 * (values - self.critic.target(batch, next_action, entropy)).square().sum(0).mean()
        costs = self.takeover_critic(batch, action)[0]
        takeover_loss = 0.5 * (costs - (cost + self.takeover_critic.target(batch, next_action))).square().mean()
        actor_loss = self._actor_loss(batch, self.takeover_critic)
        loss = td_loss - self.human_weight * advantage + takeover_loss + actor_loss
        return ComparisonLoss(loss, td_loss, advantage, takeover_loss, actor_loss)

    def _draw(self, steps: Any) -> tuple[Tensor, Tensor]:
        """Return actions of the policy, and their log-probabilities."""
        policy: Any = self.policy.at(steps)
        action = policy.rsample()
        return action, policy.log_prob(action)

    def _actor_loss(self, batch: TensorDictBase, takeover_critic: Critic) -> Tensor:
        """Return the loss of the policy, against fixed critics, and of the temperature."""
        action, log_prob = self._draw(batch)
        value = self.critic.fixed(batch, action).amin(0) - takeover_critic.fixed(batch, action)[0]
        of_policy = (self.log_temperature.exp().detach() * log_prob - value).mean()
        target_entropy = -action.shape[-1]
        of_temperature = -(self.log_temperature * (log_prob.detach() + target_entropy)).mean()
        return of_policy + of_temperature

    def on_train_batch_end(self, outputs: Any, batch: TensorDictBase, batch_idx: int) -> None:
        """Move the target networks; called after each step of the optimiser."""
        self.critic.update_average()
        if self.takeover_critic is not None:
            self.takeover_critic.update_average()


def takeover_cost(human_action: Tensor, robot_action: Tensor, onset: Tensor) -> Tensor:
    """Return what it costs to be taken over, `[*batch]`: in the first step 1 − cos(a_h, a_r), 0 elsewhere.

    Discrete actions (ours): 1 where they differ.
    """
    if human_action.dtype.is_floating_point:
        difference = 1 - cosine_similarity(human_action, robot_action, dim=-1)
    else:
        difference = (human_action != robot_action).float()
    return torch.where(onset, difference, 0.0)
