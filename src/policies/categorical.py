"""Policies over discrete actions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical

from mile.policies.policy import Policy


class CategoricalPolicy(Policy):
    """Boltzmann policy, π(a|s) ∝ exp(q(s, a) / temperature), over Q-values or plain logits q.

    Args:
        observation_dim: Length of an observation vector.
        action_dim: Number of actions.
        hidden_dims: Widths of the hidden layers (Table I).
        temperature: Temperature, finite and above 0, in units of the network's outputs; 1 for logits.
        pictures: Observed pictures; see `Policy`.

    Raises:
        ValueError: The temperature is not finite and above 0.

    Source: Sec. IV, the Boltzmann human below Eq. 1.
    """

    is_discrete = True

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (64, 64),
        temperature: float = 1.0,
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be finite and above 0, got {temperature}")
        super().__init__(
            observation_dim, action_dim, hidden_dims, action_dim, pictures=pictures, temperature=temperature
        )
        self.temperature = temperature

    def values(self, *inputs: Tensor) -> Tensor:
        """Return q(s, ·), `[*batch, action_dim]`: Q-values if trained by DQN, logits if cloned."""
        return self._values(self.embed(*inputs))

    def forward(self, *inputs: Tensor) -> Categorical:
        """Return the distribution over actions for the observed entries; see `Policy.forward`."""
        return self.distribution(self.embed(*inputs))

    def distribution(self, embedding: Tensor) -> Categorical:
        """Return the distribution over actions for embedded observations, `[*batch, embedding_dim]`."""
        return Categorical(logits=self._values(embedding) / self.temperature, validate_args=False)

    def _values(self, embedding: Tensor) -> Tensor:
        values = self.network(embedding)  # [*batch, action_dim]
        # bfloat16 is for the network alone
        return values.to(torch.promote_types(values.dtype, torch.float32))
