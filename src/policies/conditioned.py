"""Policies that are told how good their action is to be."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mile.policies.policy import Policy, build

GOOD = 1.0  # what a policy is told; −1 is bad, 0 where nobody says


class ConditionedPolicy(Policy):
    """A policy with one more input: 1 for a good action, −1 for a bad one, 0 where nobody says. It acts with 1.

    Args:
        observation_dim: Length of an observation vector, without the input.
        action_dim: Number of discrete actions, or length of a continuous action vector.
        hidden_dims: Widths of the hidden layers.
        pictures: Observed pictures; see `Policy`.
        base: Kind and architecture of the policy without the input; see `Policy.describe`.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: list[int],
        base: Mapping[str, Any],
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(observation_dim, action_dim, hidden_dims, 1, pictures=pictures, base=dict(base))
        self.encoders = nn.ModuleDict()  # the network below has its own
        shape = {**base["architecture"], "observation_dim": observation_dim + 1}
        self.network: Any = build({**base, "architecture": shape})
        self.in_keys = self.network.in_keys
        self.network.in_keys = (*self.in_keys, "quality")
        self.is_discrete = self.network.is_discrete

    @classmethod
    def of(cls, base: Policy) -> "ConditionedPolicy":
        """Return a policy that acts as another one does, whatever it is told."""
        shape = base.architecture
        sizes = shape["observation_dim"], shape["action_dim"], shape["hidden_dims"]
        policy = cls(*sizes, base=base.describe(), pictures=shape.get("pictures"))

        # the weights of the new input are 0, and it is not standardised
        weights = dict(base.state_dict())
        first = "network.0.weight"
        weights[first] = torch.cat([weights[first], torch.zeros_like(weights[first][:, :1])], -1)
        weights["normalizer.mean"] = torch.cat([weights["normalizer.mean"], torch.zeros(1)])
        weights["normalizer.std"] = torch.cat([weights["normalizer.std"], torch.ones(1)])
        policy.network.load_state_dict(weights)
        policy.normalizer.load_state_dict(base.normalizer.state_dict())  # for critics, which copy it
        return policy

    def told(self, *inputs: Tensor, quality: Tensor) -> Distribution:
        """Return the distribution over actions for the observed entries, and what the actions are to be.

        Args:
            inputs: Observed entries, each `[*batch, …]`, as `in_keys` has them.
            quality: 1, −1 or 0, `[*batch]`.
        """
        return self.network(*inputs, quality.to(self.network.normalizer.mean).unsqueeze(-1))

    def forward(self, *inputs: Tensor) -> Distribution:
        """Return the distribution over actions that are to be good; see `Policy.forward`."""
        quality = torch.full(self.batch_shape(*inputs), GOOD, device=inputs[0].device)
        return self.told(*inputs, quality=quality)
