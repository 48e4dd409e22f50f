"""The network of Table I and the normalisation of its observations."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MIN_STD = 1e-2  # a dimension that hardly varies is not blown up
MAX_NORMALIZED = 5.0  # standard deviations


def mlp(input_dim: int, hidden_dims: Sequence[int], output_dim: int, layer_norm: bool = False) -> nn.Sequential:
    """Build a multi-layer perceptron with ReLU between its layers (App. D), after layer normalisation if wanted."""
    layers: list[nn.Module] = []
    for width in hidden_dims:
        layers.append(nn.Linear(input_dim, width))
        if layer_norm:
            layers.append(nn.LayerNorm(width))
        layers.append(nn.ReLU())
        input_dim = width

    return nn.Sequential(*layers, nn.Linear(input_dim, output_dim))


def checked_bounds(log_std_bounds: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest log standard deviation; ValueError unless they are in ascending order."""
    low, high = log_std_bounds
    if not low < high:
        raise ValueError(f"log_std_bounds must be (low, high) with low < high, got {tuple(log_std_bounds)}")
    return low, high


class ObservationNormalizer(nn.Module):
    """Standardises observations with statistics that are saved in the checkpoint; the identity until it is fitted.

    Args:
        observation_dim: Length of an observation vector.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, observation_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(observation_dim))
        self.register_buffer("std", torch.ones(observation_dim))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, observations: Tensor) -> None:
        """Set mean and standard deviation (at least 0.01) to those of observations `[steps, observation_dim]`."""
        self.mean.copy_(observations.mean(0))
        self.std.copy_(observations.std(0, correction=0).clamp_min(MIN_STD))
        self.fitted.fill_(True)

    def forward(self, observation: Tensor) -> Tensor:
        """Return the standardised observation, clipped to ±5 once fitted."""
        standard = ((observation - self.mean) / self.std).clamp(-MAX_NORMALIZED, MAX_NORMALIZED)
        return torch.where(self.fitted, standard, observation)
