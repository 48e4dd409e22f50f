"""Policies that are told how good their action is to be."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from mile.policies.policy import Policy, build

GOOD = 1.0  # what a policy is told; −1 is bad, 0 where nobody says


class ConditionedPolicy(Policy):
    """A policy with one more input: 1 for a good action, −1 for a bad one, 0 where nobody says. It acts with 1.

    Args:
        observation_dim: Length of an observation vector, without the input.
        action_dim: Number of discrete actions, or length of a continuous action vector.
        hidden_dims: Widths of the hidden layers.
        base: Kind and architecture of the policy without the input; see `Policy.describe`.
    """

    def __init__(self, observation_dim: int, action_dim: int, hidden_dims: list[int], base: Mapping[str, Any]) -> None:
        super().__init__(observation_dim, action_dim, hidden_dims, 1, base=dict(base))
        shape = {**base["architecture"], "observation_dim": observation_dim + 1}
        self.network: Any = build({**base, "architecture": shape})
        self.is_discrete = self.network.is_discrete

    @classmethod
    def of(cls, base: Policy) -> "ConditionedPolicy":
        """Return a policy that acts as another one does, whatever it is told."""
        shape = base.architecture
        policy = cls(shape["observation_dim"], shape["action_dim"], shape["hidden_dims"], base=base.describe())

        # the weights of the new input are 0, and it is not standardised
        weights = dict(base.state_dict())
        first = "network.0.weight"
        weights[first] = torch.cat([weights[first], torch.zeros_like(weights[first][:, :1])], -1)
        weights["normalizer.mean"] = torch.cat([weights["normalizer.mean"], torch.zeros(1)])
        weights["normalizer.std"] = torch.cat([weights["normalizer.std"], torch.ones(1)])
        policy.network.load_state_dict(weights)
        return policy

    def told(self, observation: Tensor, quality: Tensor) -> Distribution:
        """Return the distribution over actions for observations `[*batch, observation_dim]` and what they are to be.

        Args:
            observation: Observations.
            quality: 1, −1 or 0, `[*batch]`.
        """
        return self.network(torch.cat([observation, quality.to(observation).unsqueeze(-1)], -1))

    def forward(self, observation: Tensor) -> Distribution:
        """Return the distribution over actions that are to be good."""
        return self.told(observation, observation.new_full(observation.shape[:-1], GOOD))
