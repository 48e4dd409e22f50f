"""EIL: learn what actions cost from what the human put up with, what they did not, and what they did instead."""

from enum import IntEnum
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import relu

from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.methods.onsets import before_interventions, first_of_interventions
from mile.policies import GaussianPolicy, Policy
from mile.policies.sampling import mode
from mile.rl.rlpd import QNetwork
from mile.transitions import action_taken, decided


class Quality(IntEnum):
    """The three sets of steps, and those that belong to none: the robot's without a human's consent."""

    GOOD = 0
    BAD = 1
    INTERVENTION = 2
    NO_CONSENT = 3


class CostLoss(NamedTuple):
    """The terms of a loss, each a scalar: means over all steps.

    Attributes:
        loss: Sum that is minimised.
        good_loss: Hinge of the costs of good steps, which are to be below the bound.
        bad_loss: Hinge of the costs of bad steps, which are to be above it.
        human_loss: Hinge of the human's actions, which are to cost less than others.
        actor_loss: Cost of the policy's own actions; 0 if actions are discrete.
    """

    loss: Tensor
    good_loss: Tensor
    bad_loss: Tensor
    human_loss: Tensor
    actor_loss: Tensor


class EIL(Method):
    """Learns the cost Q of actions by three hinges, and acts at the least cost.

    Good steps, those of the robot that nobody objected to, are to cost at most −m; bad ones, the last before an onset
    and the first after it, at least m. In the other steps with ν=1 the human's action is to cost less by m than each
    other action. The bound between good and bad is 0. Demonstrations count as steps with ν=1.

    Discrete actions: Q is minus the logits of the policy. Continuous ones: Q is a network of its own, the other actions
    are the robot's and the policy's own, and the policy goes down the slope of Q.

    Args:
        policy: Policy π_θ, at first the initial policy; if actions are continuous, one with `squash=True`.
        margin: Margin m of the hinges (ours), above 0: without it Q = 0 is a solution.
        human_weight: Weight w of the human's actions, at least 0.
        window: Number of steps α before and after an onset that are bad.
        optimizer: Function that makes the optimiser from the parameters of all networks.

    Raises:
        ValueError: A number is out of its range, or continuous actions are not bounded.

    Source: Spencer et al., "Learning from interventions: Human-robot interaction as both explicit and implicit
    feedback", RSS 2020.
    """

    needs_attempts = True

    @classmethod
    def needs_proposals(cls, is_discrete: bool) -> bool:
        """Return whether it needs what the robot proposed; see `Method.needs_proposals`."""
        return not is_discrete  # where continuous, the robot's action is one of the others

    def __init__(
        self,
        policy: Policy,
        margin: float = 1.0,
        human_weight: float = 1.0,
        window: int = 5,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        if not margin > 0:
            raise ValueError(f"margin must be above 0, got {margin}")
        if not human_weight >= 0:
            raise ValueError(f"human_weight must be at least 0, got {human_weight}")
        if window < 0:
            raise ValueError(f"window (steps) must be at least 0, got {window}")
        self.save_hyperparameters("margin", "human_weight", "window")
        self.margin = margin
        self.human_weight = human_weight
        self.window = window
        self.critic: QNetwork | None = None
        if isinstance(policy, GaussianPolicy):
            if not policy.squash:
                raise ValueError("EIL needs a GaussianPolicy with squash=True: beyond ±1 its cost would have no slope")
            self.critic = QNetwork(policy)

    def context(self, steps: TensorDictBase) -> TensorDict:
        """Return the `Quality` of each of the steps `[steps]` of whole attempts."""
        return TensorDict({"quality": qualities(steps, self.window)}, [len(steps)])

    def cost(self, steps: TensorDictBase, action: Tensor) -> Tensor:
        """Return Q(s, a), `[*batch]`, of actions in steps `[*batch]`."""
        if self.critic is not None:
            return self.critic.of(steps, action)
        return -self.policy.at(steps).logits.gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def loss(self, batch: TensorDictBase) -> CostLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        quality = batch["context", "quality"]
        cost = self.cost(batch, action_taken(batch))

        # what nobody objected to, and what somebody did
        good_loss = torch.where(quality == Quality.GOOD, relu(cost + self.margin), 0.0).mean()
        bad_loss = torch.where(quality == Quality.BAD, relu(self.margin - cost), 0.0).mean()

        # the human's action against others
        excess = relu(cost.unsqueeze(0) - self._costs_of_others(batch) + self.margin).sum(0)
        human_loss = torch.where(quality == Quality.INTERVENTION, excess, 0.0).mean()

        actor_loss = self._actor_loss(batch)
        loss = good_loss + bad_loss + self.human_weight * human_loss + actor_loss
        return CostLoss(loss, good_loss, bad_loss, human_loss, actor_loss)

    def _costs_of_others(self, batch: TensorDictBase) -> Tensor:
        """Return the costs of other actions than the human's, `[others, batch_size]`; infinite ones do not count."""
        if self.critic is not None:
            with torch.no_grad():
                own = mode(self.policy.at(batch))
            return torch.stack([self.cost(batch, own), self.cost(batch, batch["robot_action"])])
        policy: Any = self.policy.at(batch)
        costs = -policy.logits.movedim(-1, 0)  # [actions, batch_size]
        number = torch.arange(len(costs), device=costs.device).unsqueeze(-1)
        return costs.masked_fill(number == action_taken(batch), torch.inf)

    def _actor_loss(self, batch: TensorDictBase) -> Tensor:
        """Return the mean cost of the policy's actions, with gradients to the policy alone."""
        if self.critic is None:
            return torch.zeros((), device=batch.device)
        fixed = {name: parameter.detach() for name, parameter in self.critic.named_parameters()}
        return functional_call(self.critic, fixed, (*self.policy.inputs(batch), mode(self.policy.at(batch)))).mean()


def qualities(steps: TensorDictBase, window: int) -> Tensor:
    """Return the `Quality` of each step, `[steps]`.

    Args:
        steps: Whole attempts, one after another, `[steps]`.
        window: Number of steps before and after an onset that are bad.
    """
    bad = before_interventions(steps, window) | first_of_interventions(steps, window, own=True)
    quality = torch.where(decided(steps), Quality.GOOD, Quality.NO_CONSENT)
    quality = torch.where(steps["intervened"], Quality.INTERVENTION, quality)
    return torch.where(bad, Quality.BAD, quality)
