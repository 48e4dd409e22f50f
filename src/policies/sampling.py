"""Actions from a distribution: its mode, or a sample made from uniform numbers.

An episode can so have random numbers of its own, whatever is drawn beside it.
"""

import torch
from torch import Tensor
from torch.distributions import Categorical, ComposeTransform, Distribution, Independent, TransformedDistribution


def draw(distribution: Distribution, noise: Tensor | None = None) -> Tensor:
    """Return a sample, by inversion of the cumulative distribution.

    Args:
        distribution: Categorical, or a (transformed) diagonal distribution whose parts have `icdf`.
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

    if isinstance(distribution, Independent):
        distribution = distribution.base_dist
    tiny = torch.finfo(torch.float32).eps  # at 0 and 1 the inverse is infinite
    return distribution.icdf(noise.clamp(tiny, 1 - tiny))


def mode(distribution: Distribution) -> Tensor:
    """Return the most probable action; for a transformed Gaussian the transform of its mode."""
    if isinstance(distribution, Independent):
        return mode(distribution.base_dist)
    if isinstance(distribution, TransformedDistribution):
        return ComposeTransform(distribution.transforms)(mode(distribution.base_dist))  # pyright: ignore
    return distribution.mode
