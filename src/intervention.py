"""The intervention model of Sec. IV, Eq. 1-2: when does a human take over?

A human who would act by π_h, and believes that the robot acts by π̂, intervenes in state s with probability

    p(ν=1|s) = E_{a ~ π_h} [ Φ((ln π_h(a|s) − E_{a' ~ π̂}[ln π_h(a'|s)] − c) / σ) ]

The difference of log-probabilities is called the gap. Everything is computed in log space: log Φ keeps its value
and its gradient where Φ itself rounds to 0 or 1, and 1 − Φ(x) = Φ(−x) gives the probability of ν=0 as exactly.
"""

import math
from functools import lru_cache
from typing import TypeGuard

import torch
from jaxtyping import Bool, Float
from scipy.special import ndtr, roots_genlaguerre, roots_legendre
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal
from torch.special import log_ndtr

MONTE_CARLO_SAMPLES = 1000
STEEP_SCALE = 0.25  # nats: a narrower Φ is a step that fixed nodes miss
PANEL_NODES = 40


def intervention_log_probs(
    human: Distribution, mental_model: Distribution, cost: float, scale: float
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return (log p(ν=0|s), log p(ν=1|s)), differentiable in both distributions.

    Exact for categorical distributions, by quadrature for diagonal Gaussians, and by reparameterised Monte Carlo for
    all others. The quadrature's error in float64, in up to 8 dimensions:

    * For a scale of 0.25 and above, in p(ν|s): 1e-4 at 0.25, below 2e-5 from 0.3 and 5e-6 from 0.5. The tails of
      log p(ν|s), say below −10, and their gradients are less accurate, those of ν=0 the less the further out.
    * For a scale from 0.01 up to 0.25, and K − c (`_largest_gap`) from −1e3 to 1e4: 2e-11 in p(ν|s), 1e-10 in
      log p(ν|s) and 1e-6 in its derivative by K, the last two relative where the value exceeds 1.
    * For a scale below 0.01 likewise, but the derivative's error in the deep tail of ν=1 grows as 2e-16 ((K − c)/σ)².

    Args:
        human: π_h(·|s), batch shape `[*batch]`: the expert's policy when interventions are simulated, π_θ when
            they are learnt from.
        mental_model: π̂(·|s), what the human expects of the robot, of the same batch shape.
        cost: c, the effort of intervening, nats.
        scale: σ of Φ, nats, above 0.

    Raises:
        ValueError: cost or scale is not finite, or scale is not above 0.
        TypeError: a distribution is neither categorical nor reparameterised.

    Source: Sec. IV, Eq. 2 (with σ = 1), App. D for σ.
    """
    log_weights, x = _arguments(human, mental_model, cost, scale)
    return _log_expectation(log_weights, -x), _log_expectation(log_weights, x)


def intervention_log_likelihood(
    human: Distribution, mental_model: Distribution, intervened: Bool[Tensor, "*batch"], cost: float, scale: float
) -> Float[Tensor, "*batch"]:
    """Return log p(ν|s) of the observed ν: one of the two of `intervention_log_probs`, at half the work.

    Args:
        human: π_h(·|s).
        mental_model: π̂(·|s).
        intervened: ν.
        cost: c, nats.
        scale: σ of Φ, nats.
    """
    log_weights, x = _arguments(human, mental_model, cost, scale)
    return _log_expectation(log_weights, torch.where(intervened.unsqueeze(-1), x, -x))


def gap_parts(
    human: Distribution, mental_model: Distribution
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return (E_{a ~ π_h}[ln π_h(a|s)], E_{a' ~ π̂}[ln π_h(a'|s)]), nats: the two parts of the expected gap.

    The first is how sure the human is (minus the entropy of π_h), the second how well what is expected of the robot
    fits them. Exact for categorical distributions and diagonal Gaussians, by reparameterised Monte Carlo for others.

    Args:
        human: π_h(·|s).
        mental_model: π̂(·|s).
    """
    if isinstance(human, Categorical) and isinstance(mental_model, Categorical):
        return (human.probs * human.logits).sum(-1), (mental_model.probs * human.logits).sum(-1)
    if _is_diagonal_gaussian(human) and _is_diagonal_gaussian(mental_model):
        belief = mental_model.base_dist
        # E[ln N(a'; μ, s²)] = ln N(m; μ, s²) − ½ Σ t²/s²
        spread = 0.5 * (belief.variance / human.base_dist.variance).sum(-1)
        return -human.entropy(), human.log_prob(belief.mean) - spread
    shape = torch.Size([MONTE_CARLO_SAMPLES])
    own, expected = (human.log_prob(_reparameterised(it).rsample(shape)).mean(0) for it in (human, mental_model))
    return own, expected


def expected_gap(human: Distribution, mental_model: Distribution) -> Float[Tensor, "*batch"]:
    """Return E_{a ~ π_h}[gap], nats: how much better than expected of the robot the human's action is."""
    own, expected = gap_parts(human, mental_model)
    return own - expected


def intervention_floor(cost: float, scale: float) -> float:
    """Return Φ(−c/σ): p(ν=1|s) where the human's action is no better than what is expected of the robot.

    Interventions that the floor explains carry no information.
    """
    check_cost_and_scale(cost, scale)
    return float(ndtr(-cost / scale))


def check_cost_and_scale(cost: float, scale: float) -> None:
    """Raise ValueError unless both are finite and scale is above 0."""
    if not math.isfinite(cost):
        raise ValueError(f"cost (c, nats) must be finite, got {cost}")
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale (σ, nats) must be finite and above 0, got {scale}")


def _arguments(human: Distribution, mental_model: Distribution, cost: float, scale: float) -> tuple[Tensor, Tensor]:
    """Return the log-weights of the values that the human's action takes, and Φ's argument for each."""
    check_cost_and_scale(cost, scale)
    if scale < STEEP_SCALE and _is_diagonal_gaussian(human) and _is_diagonal_gaussian(mental_model):
        return _steep_gaussian_arguments(human, mental_model, cost, scale)
    log_weights, gap = _gap(human, mental_model, scale)
    return log_weights, (gap - cost) / scale


def _gap(human: Distribution, mental_model: Distribution, scale: float) -> tuple[Tensor, Tensor]:
    """Return log-weights and gaps of the values that the human's action takes, finely enough for a Φ of this scale."""
    if isinstance(human, Categorical) and isinstance(mental_model, Categorical):
        return _categorical_gap(human, mental_model)
    if _is_diagonal_gaussian(human) and _is_diagonal_gaussian(mental_model):
        return _gaussian_gap(human, mental_model, scale)
    return _sampled_gap(human, mental_model)


def _log_expectation(log_weights: Tensor, x: Tensor) -> Tensor:
    """Return log E[Φ(x)], computed in the log-weights' precision; rounding must not make it positive."""
    return (log_weights + log_ndtr(x.to(log_weights))).logsumexp(-1).clamp(max=0).to(x)


def _categorical_gap(human: Categorical, mental_model: Categorical) -> tuple[Tensor, Tensor]:
    """Return log π_h(a) and the gap for every action a, `[*batch, actions]`."""
    log_human = human.logits
    expected = (mental_model.logits.exp() * log_human).sum(-1, keepdim=True)
    return log_human, log_human - expected


def _is_diagonal_gaussian(distribution: Distribution) -> TypeGuard[Independent]:
    return (
        isinstance(distribution, Independent)
        and distribution.reinterpreted_batch_ndims == 1
        and isinstance(distribution.base_dist, Normal)
    )


def _largest_gap(human: Independent, mental_model: Independent) -> Tensor:
    """Return K = ½ Σ (t² + (m − μ)²)/s², the gap of the action that π_h = N(μ, s²) likes best, for π̂ = N(m, t²)."""
    own, belief = human.base_dist, mental_model.base_dist
    return 0.5 * ((belief.variance + (belief.mean - own.mean) ** 2) / own.variance).sum(-1)


def _gaussian_gap(human: Independent, mental_model: Independent, scale: float) -> tuple[Tensor, Tensor]:
    """Return log-weights `[nodes]` and gaps `[*batch, nodes]`.

    For π_h = N(μ, s²) and a ~ π_h the gap is K − g, where g = ½ Σ ((a − μ)/s)² follows Gamma(d/2, 1); generalised
    Gauss-Laguerre quadrature integrates over g. The narrower Φ is, the more nodes it takes.
    """
    nodes = next((count for limit, count in ((2, 32), (1, 64), (0.5, 128)) if scale >= limit), 256)
    offset = _largest_gap(human, mental_model)
    points, log_weights = _gamma_quadrature(human.event_shape[0] / 2, nodes)
    return log_weights.to(offset), offset.unsqueeze(-1) - points.to(offset)


@lru_cache(maxsize=32)
def _gamma_quadrature(shape: float, nodes: int) -> tuple[Tensor, Tensor]:
    """Return points and log-weights (float64) of the quadrature over Gamma(shape, 1)."""
    points, weights = roots_genlaguerre(nodes, shape - 1)
    keep = weights > 0
    log_weights = torch.from_numpy(weights[keep]).log()
    return torch.from_numpy(points[keep]), log_weights.log_softmax(-1)


def _steep_gaussian_arguments(
    human: Independent, mental_model: Independent, cost: float, scale: float
) -> tuple[Tensor, Tensor]:
    """Return log-weights and Φ's arguments, both `[*batch, nodes]`, for a Φ so narrow that it is a step.

    With b = K − c and g = u² (see `_gaussian_gap`)

        p(ν=1|s) = ∫ 2 u^(d−1) e^(−u²) / Γ(d/2) Φ((b − u²)/σ) du

    and the integrand is smooth at 0 whatever the dimension d. Gauss-Legendre quadrature on panels that follow the step
    serves ν=0 and ν=1 alike, in the bulk and in the tails. The panels move with b, but carry no gradient.

    The log-weights are float64 where the device has it: float32 cannot hold b − u², nor the gradient of log Φ far out.
    """
    dims = human.event_shape[0]
    largest_gap = _largest_gap(human, mental_model)
    on_mps = largest_gap.device.type == "mps"  # Apple's GPUs have no float64
    b = (largest_gap if on_mps else largest_gap.double()) - cost

    # nodes
    left, right = _panels(b.detach(), dims, scale)
    width = (right - left).clamp(min=1e-30).unsqueeze(-1)  # an empty panel keeps a finite logarithm
    points, weights = (part.to(b) for part in _legendre_quadrature())
    u = (left.unsqueeze(-1) + width * points).flatten(-2)
    log_steps = (width * weights).log().flatten(-2)

    # integrand
    log_density = math.log(2) + (dims - 1) * u.log() - u.square() - math.lgamma(dims / 2)
    x = (b.unsqueeze(-1) - u.square()) / scale
    return log_steps + log_density, x.to(largest_gap)


def _panels(b: Tensor, dims: int, scale: float) -> tuple[Tensor, Tensor]:
    """Return the left and right ends, in u, of three panels, `[*batch, 3]`: below the step, the step, above it.

    What is `reach` nats below its peak is left out. The density's tail e^(−g) ends at g = reach, or so far above the
    step; the step at b ends √(2 reach) σ to either side. Where b < 0 only the tail of Φ meets the density: it has lost
    `reach` nats at the g with g² + 2|b|g = 2 reach σ².
    """
    reach = 40 + dims  # e^(−40) is out of sight in float64, and g^(d/2 − 1) needs some more
    square = 2 * reach * scale**2
    depth = (-b).clamp(min=0)
    step_start = (b - math.sqrt(square)).clamp(min=0)
    step_end = b.clamp(min=0) + square / (depth + (depth**2 + square).sqrt())
    left = torch.stack([torch.zeros_like(b), step_start, step_end], -1)
    right = torch.stack([step_start.clamp(max=reach), step_end, step_end + reach], -1)
    return left.sqrt(), right.sqrt()


@lru_cache(maxsize=1)
def _legendre_quadrature() -> tuple[Tensor, Tensor]:
    """Return points and weights (float64) of the quadrature over a panel [0, 1]."""
    points, weights = roots_legendre(PANEL_NODES)
    return torch.from_numpy((1 + points) / 2), torch.from_numpy(weights / 2)


def _sampled_gap(human: Distribution, mental_model: Distribution) -> tuple[Tensor, Tensor]:
    """Return log-weights `[samples]` and gaps `[*batch, samples]` for reparameterised draws of any distribution."""
    shape = torch.Size([MONTE_CARLO_SAMPLES])
    expected = human.log_prob(_reparameterised(mental_model).rsample(shape)).mean(0)
    gap = (human.log_prob(_reparameterised(human).rsample(shape)) - expected).movedim(0, -1)
    return gap.new_full(shape, -math.log(MONTE_CARLO_SAMPLES)), gap


def _reparameterised(distribution: Distribution) -> Distribution:
    if not distribution.has_rsample:
        raise TypeError(f"expected a categorical or a reparameterised distribution, got {distribution}")
    return distribution
