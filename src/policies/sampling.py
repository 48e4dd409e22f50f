"""Actions from a distribution: its mode, or a sample made from uniform numbers.

An episode can so have random numbers of its own, whatever is drawn beside it.
"""

from abc import ABC, abstractmethod
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
from zuko.distributions import NormalizingFlow

from mile.expectations import weighted_points

MEAN_SHIFTS = 5  # towards a flow's mode
TINY = 1e-6  # lowest spread of a flow's points


class Sampler(Distribution, ABC):
    """A distribution that says itself how a sample is made from uniform numbers; its `mode` is what it does at most."""

    @abstractmethod
    def draw(self, noise: Tensor) -> Tensor:
        """Return a sample made from uniform numbers in [0, 1); see `draw`."""


def draw(distribution: Distribution, noise: Tensor | None = None) -> Tensor:
    """Return a sample, by inversion of the cumulative distribution.

    Args:
        distribution: Categorical, a (transformed) diagonal distribution whose parts have `icdf`, or a mixture of
            diagonal Gaussians; or a flow of either kind.
        noise: Independent uniform numbers in [0, 1): `[*batch, 1]` for a Categorical, `[*batch, action_dim]`
            otherwise; None samples with torch's global generator.

    Returns:
        Actions, `[*batch]` or `[*batch, action_dim]`.
    """
    if noise is None:
        return distribution.sample()

    if isinstance(distribution, Sampler):
        return distribution.draw(noise)

    if isinstance(distribution, Categorical):
        cumulative = distribution.probs.cumsum(-1)  # [*batch, actions]
        return (noise >= cumulative[..., :-1]).sum(-1)  # without the last sum, which may round to less than 1

    if isinstance(distribution, MixtureSameFamily):
        return _draw_of_mixture(distribution, noise)

    if isinstance(distribution, NormalizingFlow):
        sent: Any = distribution.transform.inv(draw(distribution.base, noise))
        return sent

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

    Of a transformed Gaussian it is the transform of its mode, of a mixture the mean with the highest density. That of a
    flow is where most of its quasi-random points lie.
    """
    if isinstance(distribution, NormalizingFlow):
        _, points = weighted_points(distribution)
        return middle_of_most(points)
    if isinstance(distribution, MixtureSameFamily):
        means: Any = distribution.component_distribution.mean  # [*batch, components, action_dim]
        density = distribution.log_prob(means.movedim(-2, 0))  # [components, *batch]
        return means.take_along_dim(density.argmax(0)[..., None, None], -2).squeeze(-2)
    if isinstance(distribution, Independent):
        return mode(distribution.base_dist)
    if isinstance(distribution, TransformedDistribution):
        return ComposeTransform(distribution.transforms)(mode(distribution.base_dist))  # pyright: ignore
    return distribution.mode


def middle_of_most(actions: Tensor) -> Tensor:
    """Return where most of a flow's points `[points, *batch, action_dim]` lie: the mode of their smoothed density.

    The density itself may be highest on a thin ridge between two modes, where there is hardly any of it.
    """
    count, dims = len(actions), actions.shape[-1]
    bandwidth = actions.std(0, correction=0).clamp_min(TINY) * count ** (-1 / (dims + 4))  # Scott's rule
    points = actions.movedim(0, -2) / bandwidth.unsqueeze(-2)  # [*batch, points, action_dim]

    # from the point with the most of them around it, to the middle of those around
    crowd = (-0.5 * torch.cdist(points, points).square()).exp().sum(-1)
    best = points.take_along_dim(crowd.argmax(-1)[..., None, None], -2)
    for _ in range(MEAN_SHIFTS):
        weights = (-0.5 * (points - best).square().sum(-1, keepdim=True)).exp()
        best = (weights * points).sum(-2, keepdim=True) / weights.sum(-2, keepdim=True)
    return best.squeeze(-2) * bandwidth
