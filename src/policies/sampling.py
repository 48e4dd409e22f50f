"""Actions from a distribution: its mode, or a sample made from uniform numbers.

An episode can so have random numbers of its own, whatever is drawn beside it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    ComposeTransform,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
)


def draw(distribution: Distribution, noise: Tensor | None = None) -> Tensor:
    """Return a sample, by inversion of the cumulative distribution.

    Args:
        distribution: Categorical, a (transformed) diagonal distribution whose parts have `icdf`, or a mixture of
            diagonal Gaussians.
        noise: Independent uniform numbers in [0, 1): `[*batch, 1]` for a Categorical, `[*batch, action_dim]`
            otherwise; None samples with torch's global generator.

    Returns:
        Actions, `[*batch]` or `[*batch, action_dim]`.
    """
    if noise is None:
        return distribution.sample()

    if isinstance(distribution, Categorical):
        cumulative = distribution.probs.cumsum(-1)  # [*batch, actions]
        return (noise >= cumulative[..., :-1]).sum(-1)  # without the last sum, which may round to less than 1

    if isinstance(distribution, MixtureSameFamily):
        return _draw_of_mixture(distribution, noise)

    if isinstance(distribution, Independent):
        distribution = distribution.base_dist
    tiny = torch.finfo(torch.float32).eps  # at 0 and 1 the inverse is infinite
    return distribution.icdf(noise.clamp(tiny, 1 - tiny))


def _draw_of_mixture(distribution: MixtureSameFamily, noise: Tensor) -> Tensor:
    """Return a sample of a mixture, `[*batch, action_dim]`: the first number chooses the component.

    Where it lies between the component's bounds is again uniform, and makes the first part of the action.
    """
    probs: Any = distribution.mixture_distribution.probs  # [*batch, components]
    ends = probs.cumsum(-1)
    number = (noise[..., :1] >= ends[..., :-1]).sum(-1, keepdim=True)
    share = probs.gather(-1, number)
    rest = (noise[..., :1] - (ends.gather(-1, number) - share)) / share

    component: Any = distribution.component_distribution.base_dist
    mean, std = (
        part.take_along_dim(number.unsqueeze(-1), -2).squeeze(-2) for part in (component.mean, component.stddev)
    )
    tiny = torch.finfo(torch.float32).eps
    uniform = torch.cat([rest.to(noise), noise[..., 1:]], -1).clamp(tiny, 1 - tiny)
    return Normal(mean, std, validate_args=False).icdf(uniform)


def mode(distribution: Distribution) -> Tensor:
    """Return the most probable action.

    Of a transformed Gaussian it is the transform of its mode, of a mixture the mean with the highest density.
    """
    if isinstance(distribution, MixtureSameFamily):
        means: Any = distribution.component_distribution.mean  # [*batch, components, action_dim]
        density = distribution.log_prob(means.movedim(-2, 0))  # [components, *batch]
        return means.take_along_dim(density.argmax(0)[..., None, None], -2).squeeze(-2)
    if isinstance(distribution, Independent):
        return mode(distribution.base_dist)
    if isinstance(distribution, TransformedDistribution):
        return ComposeTransform(distribution.transforms)(mode(distribution.base_dist))  # pyright: ignore
    return distribution.mode
