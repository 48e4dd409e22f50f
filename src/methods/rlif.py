"""RLIF: interventions as the reward of reinforcement learning."""

from typing import Any, Literal

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torchrl.data import Bounded, Categorical
from torchrl.objectives import SoftUpdate

from mile.methods.method import MakeOptimizer, Method
from mile.policies import CategoricalPolicy, GaussianPolicy, Policy
from mile.rl.dqn import make_dqn
from mile.rl.rlpd import RLPDLoss


class RLIF(Method):
    """Off-policy reinforcement learning on minibatches of `ReplayDataModule`: RLPD, or DQN for discrete actions.

    The step just before the first step with ν=1 of an intervention has the reward −1 (`intervention_rewards`). All
    other steps have the reward 0, and every step is learnt from as a transition with the action that was executed.
    Demonstrations are transitions with the reward 0, and make up half of each minibatch.

    The critics take one update for each minibatch of a batch, and RLPD's actor and temperature then one together.

    Args:
        policy: Policy π_θ, at first the initial policy: a `GaussianPolicy` with `squash=True`, such as a
            `squashed_clone` of it; or a `CategoricalPolicy`, which is the network of Q-values itself.
        optimizer: Function that makes one optimiser of all networks' parameters; each step moves those that have a
            gradient.
        discount: Discount factor γ.
        target_rate: Rate τ of the target networks' moving average.
        failure: Value of a termination that is no success. "published": nothing more, so that with rewards of 0
            and −1 it is worth the maximum. "absorbing" (ours): −1 a step for ever, −1/(1 − γ). The recorded outcome
            tells failure from success.

    Raises:
        ValueError: `failure` is neither.

    Source: Luo et al., "RLIF: Interactive imitation learning as reinforcement learning", ICLR 2024.
    """

    reads = (
        *Method.reads,
        "executed_action",
        ("next", "observation"),
        ("next", "terminated"),
        ("next", "truncated"),
        ("next", "success"),
    )

    def __init__(
        self,
        policy: Policy,
        optimizer: MakeOptimizer,
        discount: float = 0.99,
        target_rate: float = 5e-3,
        failure: Literal["published", "absorbing"] = "absorbing",
    ) -> None:
        super().__init__(policy, optimizer)
        if failure not in ("published", "absorbing"):
            raise ValueError(f"failure must be 'published' or 'absorbing', got '{failure}'")
        self.failure_value = -1 / (1 - discount) if failure == "absorbing" else 0.0
        self.automatic_optimization = False  # Lightning then leaves the updates to training_step

        action_dim = policy.architecture["action_dim"]
        if isinstance(policy, GaussianPolicy):
            self.learner = RLPDLoss(policy, Bounded(-1, 1, torch.Size([action_dim])), discount=discount)
        else:
            assert isinstance(policy, CategoricalPolicy)
            _, self.learner = make_dqn(policy, Categorical(action_dim), discount)
        self.target = SoftUpdate(self.learner, tau=target_rate)

    def loss(self, batch: TensorDictBase) -> Tensor:
        """Return the critics' loss for transitions `[batch_size]`."""
        # rewards with the value of failures
        following: Any = batch["next"]
        failed = following["terminated"] & ~following["success"].unsqueeze(-1)  # [batch_size, 1]
        reward = following["reward"] + self.failure_value * failed
        batch = batch.clone(recurse=False)
        batch["next"] = following.copy().set("reward", reward)

        if isinstance(self.learner, RLPDLoss):
            return self.learner.critic_loss(batch)
        return self.learner(batch)["loss"]

    def training_step(self, batch: TensorDictBase, batch_idx: int) -> None:
        """Make the updates that belong to one environment step; called for each batch `[updates, batch_size]`."""
        logged = {}

        # critics, or Q-values
        for minibatch in batch.unbind(0):
            logged["loss"] = self._descend(self.loss(minibatch))
            self.target.step()

        # actor and temperature
        if isinstance(self.learner, RLPDLoss):
            logged["actor_loss"], logged["temperature_loss"] = self.learner.policy_loss(batch[-1])
            self._descend(logged["actor_loss"] + logged["temperature_loss"])

        logged = {f"train/{name}": value.detach() for name, value in logged.items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=batch.shape[1], sync_dist=True)

    def networks(self) -> dict[str, nn.Module]:
        """Return the learner, which holds the policy."""
        return {"learner": self.learner}

    def _descend(self, loss: Tensor) -> Tensor:
        """Make one step of the optimiser down the loss, and return the loss."""
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser of the learner's networks, called at the start of a fit; the targets follow these."""
        return self.optimizer(self.learner.parameters())
