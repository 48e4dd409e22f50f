"""Policies over continuous actions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, TanhTransform, TransformedDistribution

from mile.policies.networks import checked_bounds
from mile.policies.policy import Policy

INVERSE_MARGIN = 1e-6  # distance from ±1 that actions keep where tanh is inverted


class BoundedTanh(TanhTransform):
    """Hyperbolic tangent with an inverse that is finite at ±1.

    Values of tanh near ±1 round to ±1 in float32, and recorded actions are clipped to ±1.
    """

    def _inverse(self, y: Tensor) -> Tensor:
        return y.clamp(-1 + INVERSE_MARGIN, 1 - INVERSE_MARGIN).atanh()


class GaussianPolicy(Policy):
    """Diagonal Gaussian whose mean and standard deviation depend on the observation.

    The log standard deviation is squashed into its bounds, because gaps of log-densities (and with them cost
    and scale, in nats) grow without limit as it falls.

    Args:
        observation_dim: Length of an observation vector.
        action_dim: Length of an action vector.
        hidden_dims: Widths of the hidden layers (Table I).
        log_std_bounds: Lowest and highest log standard deviation.
        squash: Pass the Gaussian through tanh, as SAC does; actions then lie in (−1, 1).
        pictures: Observed pictures; see `Policy`.

    Raises:
        ValueError: The bounds are not in ascending order.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        log_std_bounds: Sequence[float] = (-2.0, 1.0),
        squash: bool = False,
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        low, high = checked_bounds(log_std_bounds)
        super().__init__(
            observation_dim,
            action_dim,
            hidden_dims,
            2 * action_dim,
            pictures=pictures,
            log_std_bounds=[low, high],
            squash=squash,
        )
        self.low, self.high, self.squash = low, high, squash

    def mean_and_std(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the Gaussian, before tanh, each `[*batch, action_dim]`."""
        return self._mean_and_std(self.embed(*inputs))

    def forward(self, *inputs: Tensor) -> Distribution:
        """Return the distribution over actions for the observed entries; see `Policy.forward`."""
        return self.distribution(self.embed(*inputs))

    def distribution(self, embedding: Tensor) -> Distribution:
        """Return the distribution over actions for embedded observations, `[*batch, embedding_dim]`."""
        normal = Normal(*self._mean_and_std(embedding), validate_args=False)
        if self.squash:
            squashed = TransformedDistribution(normal, BoundedTanh(cache_size=1), validate_args=False)
            return Independent(squashed, 1, validate_args=False)
        return Independent(normal, 1, validate_args=False)

    def _mean_and_std(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(embedding)  # [*batch, 2 action_dim]
        # bfloat16 is for the network alone
        output = output.to(torch.promote_types(output.dtype, torch.float32))

        mean, raw = output.chunk(2, dim=-1)
        log_std = self.low + (self.high - self.low) * torch.sigmoid(raw)
        return mean, log_std.exp()
