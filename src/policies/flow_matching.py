"""Policies that flow from noise to an action, and have a bound in the place of a density: for comparison."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from mile.expectations import sobol_points
from mile.policies.policy import Policy
from mile.policies.sampling import Sampler, draw, middle_of_most

PAIRS = 8  # of time and noise that one score is taken over
STEPS = 10  # of Euler's method, from noise to an action
TIME_FEATURES = 4

Velocity = Callable[[Tensor, Tensor], Tensor]  # of points [*batch, action_dim] at times [*batch, 1]


class FlowMatching(Sampler):
    """Where a velocity field takes standard normal noise between the times 0 and 1.

    There is a sampler, and no density: `log_prob` is minus the loss of flow matching, which is no log-density either,
    and not in nats. It is a sum over the parts of an action.

    Args:
        velocity: Function of points and times.
        like: Tensor of an action's shape, type and device, `[*batch, action_dim]`.
    """

    def __init__(self, velocity: Velocity, like: Tensor) -> None:
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=False)
        self.velocity = velocity
        self.like = like

    def log_prob(self, value: Tensor) -> Tensor:
        """Return minus half the squared error of the velocity towards actions, `[*batch]`, over fresh noise."""
        noise = torch.randn(PAIRS, *value.shape, dtype=value.dtype, device=value.device)
        place = torch.rand(value.shape[:-1], dtype=value.dtype, device=value.device)
        strata = torch.arange(PAIRS, device=value.device).reshape(-1, *(1,) * place.ndim)
        times = (strata + place) / PAIRS  # one in each part of [0, 1]
        return self.scores(value, times.unsqueeze(-1), noise).mean(0)

    def scores(self, value: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Return minus half the squared error of the velocity on the way from noise to actions.

        Args:
            value: Actions, `[*batch, action_dim]`.
            times: Times in [0, 1], `[pairs, *batch, 1]`.
            noise: Standard normal numbers, `[pairs, *batch, action_dim]`.

        Returns:
            `[pairs, *batch]`.

        Source: Lipman et al., "Flow matching for generative modeling", ICLR 2023, with straight paths.
        """
        between = (1 - times) * noise + times * value
        error = self.velocity(between, times) - (value - noise)
        return -0.5 * error.square().sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Return actions, drawn with torch's global generator."""
        shape = (*sample_shape, *self.like.shape)
        return self.carried(torch.randn(shape, dtype=self.like.dtype, device=self.like.device))

    def carried(self, noise: Tensor) -> Tensor:
        """Return where standard normal noise `[…, *batch, action_dim]` ends, by Euler's method."""
        point = noise
        for step in range(STEPS):
            time = torch.full_like(point[..., :1], step / STEPS)
            point = point + self.velocity(point, time) / STEPS
        return point

    @torch.no_grad()
    def draw(self, noise: Tensor) -> Tensor:
        """Return actions made from uniform numbers `[*batch, action_dim]`."""
        standard = Normal(torch.zeros_like(self.like), 1.0, validate_args=False)
        return self.carried(draw(standard, noise.to(self.like)))

    @property
    @torch.no_grad()
    def mode(self) -> Tensor:
        """Where most of quasi-random noise ends, `[*batch, action_dim]`."""
        _, normal = sobol_points(self.like.shape[-1])
        noise = normal.to(self.like).reshape(len(normal), *(1,) * (self.like.ndim - 1), -1)
        return middle_of_most(self.carried(noise.expand(-1, *self.like.shape)))


class FlowMatchingPolicy(Policy):
    """A velocity field from noise to actions, trained by flow matching. It has no density: MILE refuses it.

    Args:
        observation_dim: Length of an observation vector.
        action_dim: Length of an action vector.
        hidden_dims: Widths of the hidden layers.
        pictures: Observed pictures; see `Policy`.

    Source: Lipman et al., "Flow matching for generative modeling", ICLR 2023.
    """

    has_density = False

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        more_dim = action_dim + 2 * TIME_FEATURES  # where, and when
        super().__init__(observation_dim, action_dim, hidden_dims, action_dim, more_dim, pictures)

    def forward(self, *inputs: Tensor) -> FlowMatching:
        """Return the distribution over actions for the observed entries; see `Policy.forward`."""
        return self.distribution(self.embed(*inputs))

    def distribution(self, embedding: Tensor) -> FlowMatching:
        """Return the distribution over actions for embedded observations, `[*batch, embedding_dim]`."""

        def velocity(point: Tensor, time: Tensor) -> Tensor:
            here = embedding.expand(*point.shape[:-1], -1)
            return self.network(torch.cat([here, point, _waves(time)], -1)).to(point.dtype)

        like = embedding.new_zeros(*embedding.shape[:-1], self.architecture["action_dim"])
        return FlowMatching(velocity, like)


def _waves(time: Tensor) -> Tensor:
    """Return sines and cosines of times `[*batch, 1]`, `[*batch, 2 TIME_FEATURES]`."""
    angles = time * math.pi * 2.0 ** torch.arange(TIME_FEATURES, device=time.device)
    return torch.cat([angles.sin(), angles.cos()], -1).to(time.dtype)
