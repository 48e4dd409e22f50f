"""Policies whose actions have several modes, each a Gaussian."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mile.policies.networks import checked_bounds
from mile.policies.policy import Policy


def gaussian_mixture(output: Tensor, components: int, log_std_bounds: Sequence[float]) -> MixtureSameFamily:
    """Return the mixture of diagonal Gaussians that a network's outputs describe.

    Args:
        output: Logits of the components, then their means, then what is squashed into the log standard deviations,
            `[*batch, components (1 + 2 action_dim)]`.
        components: Number of components.
        log_std_bounds: Lowest and highest log standard deviation.
    """
    low, high = log_std_bounds
    logits, mean, raw = output.tensor_split([components, (output.shape[-1] + components) // 2], -1)
    mean, raw = (part.unflatten(-1, (components, -1)) for part in (mean, raw))  # [*batch, components, action_dim]
    std = (low + (high - low) * raw.sigmoid()).exp()
    parts = Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)
    return MixtureSameFamily(Categorical(logits=logits, validate_args=False), parts, validate_args=False)


class MixturePolicy(Policy):
    """A mixture of diagonal Gaussians, for actions with several good values.

    Args:
        observation_dim: Length of an observation vector.
        action_dim: Length of an action vector.
        hidden_dims: Widths of the hidden layers.
        components: Number of Gaussians, at least 1.
        log_std_bounds: Lowest and highest log standard deviation.
        pictures: Observed pictures; see `Policy`.

    Raises:
        ValueError: There is no component, or the bounds are not in ascending order.

    Source: Bishop, "Mixture density networks", 1994.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        components: int = 5,
        log_std_bounds: Sequence[float] = (-2.0, 1.0),
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        low, high = checked_bounds(log_std_bounds)
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        super().__init__(
            observation_dim,
            action_dim,
            hidden_dims,
            components * (1 + 2 * action_dim),
            pictures=pictures,
            components=components,
            log_std_bounds=[low, high],
        )
        self.components = components
        self.log_std_bounds = low, high

    def forward(self, *inputs: Tensor) -> MixtureSameFamily:
        """Return the distribution over actions for the observed entries; see `Policy.forward`."""
        return self.distribution(self.embed(*inputs))

    def distribution(self, embedding: Tensor) -> MixtureSameFamily:
        """Return the distribution over actions for embedded observations, `[*batch, embedding_dim]`."""
        output = self.network(embedding)
        # bfloat16 is for the network alone
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        return gaussian_mixture(output, self.components, self.log_std_bounds)
