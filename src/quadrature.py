"""The gap of diagonal Gaussians: a one-dimensional integral, whatever the number of action dimensions."""

import math
from functools import lru_cache
from typing import TypeGuard

import torch
from scipy.special import roots_genlaguerre, roots_legendre
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, Normal

MIN_LAGUERRE_SCALE = 0.25  # nats: a narrower Φ is a step that the fixed nodes of Gauss-Laguerre quadrature miss
LOW_DIMS, STEEP_SCALE = 8, 2.5  # nats: in more dimensions the gap spreads further, and its fixed nodes miss wider steps
MOST_DIMS = 256  # beyond these both quadratures lose p(ν=1|s), and the nodes' Γ(d/2) overflows from 344 on
NODES_PER_PANEL = 40
REACH = 40  # nats: e^(−40) is out of sight in float64
MIN_PANEL_WIDTH = 1e-30  # an empty panel keeps a finite logarithm


def is_diagonal_gaussian(distribution: Distribution) -> TypeGuard[Independent]:
    """Return whether a distribution is a diagonal Gaussian over vectors."""
    return (
        isinstance(distribution, Independent)
        and distribution.reinterpreted_batch_ndims == 1
        and isinstance(distribution.base_dist, Normal)
    )


def is_gaussian_mixture(distribution: Distribution) -> TypeGuard[MixtureSameFamily]:
    """Return whether a distribution is a mixture of diagonal Gaussians."""
    return isinstance(distribution, MixtureSameFamily) and is_diagonal_gaussian(distribution.component_distribution)


def is_gaussian_belief(distribution: Distribution) -> TypeGuard[Independent | MixtureSameFamily]:
    """Return whether a distribution is a diagonal Gaussian, or a mixture of some."""
    return is_diagonal_gaussian(distribution) or is_gaussian_mixture(distribution)


def largest_gap(human: Independent, mental_model: Independent | MixtureSameFamily) -> Tensor:
    """Return K = ½ Σ (t² + (m − μ)²)/s², the gap of the action that π_h = N(μ, s²) likes best, for π̂ = N(m, t²).

    It is linear in π̂: that of a mixture is the mean of its components'.
    """
    own = human.base_dist
    if isinstance(mental_model, MixtureSameFamily):
        component = mental_model.component_distribution.base_dist  # [*batch, components, actions]
        mean, variance = own.mean.unsqueeze(-2), own.variance.unsqueeze(-2)
        gaps = 0.5 * ((component.variance + (component.mean - mean) ** 2) / variance).sum(-1)
        return (mental_model.mixture_distribution.probs * gaps).sum(-1)
    belief = mental_model.base_dist
    return 0.5 * ((belief.variance + (belief.mean - own.mean) ** 2) / own.variance).sum(-1)


def is_steep(dims: int, scale: float | Tensor) -> bool:
    """Return whether Φ is so narrow that it takes `steep_gaussian_standardised_gap` in the place of `gaussian_gap`.

    Args:
        dims: Number of action dimensions, or of those of several actions.
        scale: Standard deviation σ of Φ, nats.

    Raises:
        ValueError: There are too many dimensions.
    """
    check_dims(dims)
    return float(scale) < (MIN_LAGUERRE_SCALE if dims <= LOW_DIMS else STEEP_SCALE)


def check_dims(dims: int) -> None:
    """Raise ValueError where p(ν=1|s) of Gaussian actions would not be right."""
    if dims > MOST_DIMS:
        raise ValueError(
            f"p(ν=1|s) of Gaussian actions is computed in at most {MOST_DIMS} dimensions, got {dims} (the parts of all "
            "actions at once); choose a lower policy.execute"
        )


def gaussian_gap(
    human: Independent, mental_model: Independent | MixtureSameFamily, scale: float
) -> tuple[Tensor, Tensor]:
    """Return log-weights `[nodes]` and gaps `[*batch, nodes]`.

    For π_h = N(μ, s²) and a ~ π_h the gap is K − g, where g = ½ Σ ((a − μ)/s)² follows Gamma(d/2, 1); generalised
    Gauss-Laguerre quadrature integrates over g.
    """
    peak = largest_gap(human, mental_model)  # K, [*batch]
    g, log_weights = _gamma_quadrature(human.event_shape[0] / 2, _num_gamma_nodes(scale))
    return log_weights.to(peak), peak.unsqueeze(-1) - g.to(peak)


def _num_gamma_nodes(scale: float) -> int:
    """Return how many nodes the quadrature over g takes: the narrower Φ is, the more."""
    for min_scale, nodes in ((2, 32), (1, 64), (0.5, 128)):
        if scale >= min_scale:
            return nodes
    return 256


@lru_cache(maxsize=32)
def _gamma_quadrature(shape: float, nodes: int) -> tuple[Tensor, Tensor]:
    """Return points and log-weights (float64) of the quadrature over Gamma(shape, 1)."""
    points, weights = roots_genlaguerre(nodes, shape - 1)
    representable = weights > 0  # the smallest weights round to 0
    log_weights = torch.from_numpy(weights[representable]).log()
    return torch.from_numpy(points[representable]), log_weights.log_softmax(-1)


# diagonal Gaussians with a steep Φ


def steep_gaussian_standardised_gap(
    human: Independent, mental_model: Independent | MixtureSameFamily, cost: float | Tensor, scale: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Return log-weights and z, both `[*batch, nodes]`, for a Φ so narrow that it is a step.

    With b = K − c and g = u² (see `gaussian_gap`)

        p(ν=1|s) = ∫ 2 u^(d−1) e^(−u²) / Γ(d/2) Φ((b − u²)/σ) du

    and the integrand is smooth at 0 whatever the dimension d. Gauss-Legendre quadrature on panels that follow the step
    serves ν=0 and ν=1 alike, in the bulk and in the tails. The panels move with b, but carry no gradient.

    The log-weights are float64 where the device has it: float32 cannot hold b − u², nor the gradient of log Φ far out.
    """
    dims = human.event_shape[0]
    peak = largest_gap(human, mental_model)  # K, [*batch]
    on_mps = peak.device.type == "mps"  # Apple's GPUs have no float64
    b = (peak if on_mps else peak.double()) - cost  # [*batch]

    # nodes
    left, right = _panels(b.detach(), dims, float(scale))  # [*batch, 3]
    width = (right - left).clamp(min=MIN_PANEL_WIDTH).unsqueeze(-1)
    points, weights = (part.to(b) for part in _legendre_quadrature())  # [NODES_PER_PANEL]
    u = (left.unsqueeze(-1) + width * points).flatten(-2)  # [*batch, nodes]
    log_steps = (width * weights).log().flatten(-2)

    # integrand
    log_density = math.log(2) + (dims - 1) * u.log() - u.square() - math.lgamma(dims / 2)
    z = (b.unsqueeze(-1) - u.square()) / scale
    return log_steps + log_density, z.to(peak)


def _panels(b: Tensor, dims: int, scale: float) -> tuple[Tensor, Tensor]:
    """Return the left and right ends, in u, of three panels, `[*batch, 3]`: below the step, the step, above it.

    Where the integrand is `reach` nats below its peak it is left out. The density's tail e^(−g) ends at g = reach, or
    so far above the step; the step at b ends √(2 reach) σ to either side. Where b < 0 only the tail of Φ meets the
    density: it has lost `reach` nats at the g with g² + 2|b|g = 2 reach σ².
    """
    reach = REACH + dims  # g^(d/2 − 1) needs some more
    square = 2 * reach * scale**2

    # ends in g
    depth = (-b).clamp(min=0)  # |b| where b < 0
    step_start = (b - math.sqrt(square)).clamp(min=0)
    step_end = b.clamp(min=0) + square / (depth + (depth**2 + square).sqrt())

    left = torch.stack([torch.zeros_like(b), step_start, step_end], -1)
    right = torch.stack([step_start.clamp(max=reach), step_end, step_end + reach], -1)
    return left.sqrt(), right.sqrt()  # u = √g


@lru_cache(maxsize=1)
def _legendre_quadrature() -> tuple[Tensor, Tensor]:
    """Return points and weights (float64) of the quadrature over a panel [0, 1]."""
    points, weights = roots_legendre(NODES_PER_PANEL)
    return torch.from_numpy((1 + points) / 2), torch.from_numpy(weights / 2)
