"""The intervention model of Sec. IV, Eq. 1-2: when does a human take over?

A human who would act by π_h, and believes that the robot acts by π̂, intervenes in state s with probability

    p(ν=1|s) = E_{a ~ π_h} [ Φ((ln π_h(a|s) − E_{a' ~ π̂}[ln π_h(a'|s)] − c) / σ) ]

The difference of log-probabilities is called the gap of an action, and z = (gap − c) / σ the standardised gap, so that
p(ν=1|s) = E[Φ(z)]. Eq. 1 splits this probability by the human's action; Eq. 2 is the expectation, and from it the
probability π_h(a|s) p(ν=1|s) of an intervention with action a, which `mile.losses` uses.

Everything is computed in log space: log Φ keeps its value and its gradient where Φ itself rounds to 0 or 1, and
1 − Φ(z) = Φ(−z) gives the probability of ν=0 as exactly. Every expectation is a sum over values of the gap, each with
a log-weight: the actions of a categorical π_h, the nodes of a quadrature, or samples.
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
MIN_LAGUERRE_SCALE = 0.25  # nats: a narrower Φ is a step that the fixed nodes of Gauss-Laguerre quadrature miss
NODES_PER_PANEL = 40
REACH = 40  # nats: e^(−40) is out of sight in float64
MIN_PANEL_WIDTH = 1e-30  # an empty panel keeps a finite logarithm


# Eq. 1 and 2


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
        human: Policy of the human, π_h(·|s), batch shape `[*batch]`: the expert's when interventions are simulated, π_θ
            when they are learnt from.
        mental_model: Distribution that the human expects of the robot's action, π̂(·|s), of the same batch shape.
        cost: Effort of intervening, c, nats.
        scale: Standard deviation σ of Φ, nats, above 0.

    Raises:
        ValueError: Cost or scale is not finite, or scale is not above 0.
        TypeError: A distribution is neither categorical nor reparameterised.

    Source: Sec. IV, Eq. 2 (with σ = 1), App. D for σ.
    """
    log_weights, z = _standardised_gap(human, mental_model, cost, scale)
    log_not = _log_expected_phi(log_weights, -z)  # E[1 − Φ(z)] = E[Φ(−z)]
    log_intervene = _log_expected_phi(log_weights, z)  # Eq. 2
    return log_not, log_intervene


def intervention_log_likelihood(
    human: Distribution, mental_model: Distribution, intervened: Bool[Tensor, "*batch"], cost: float, scale: float
) -> Float[Tensor, "*batch"]:
    """Return log p(ν|s) of the observed ν: one of the two of `intervention_log_probs`, at half the work.

    Args:
        human: Policy of the human, π_h(·|s).
        mental_model: Distribution that the human expects of the robot's action, π̂(·|s).
        intervened: Observed ν: true where the human intervened.
        cost: Effort of intervening, c, nats.
        scale: Standard deviation σ of Φ, nats, above 0.
    """
    log_weights, z = _standardised_gap(human, mental_model, cost, scale)
    signed_z = torch.where(intervened.unsqueeze(-1), z, -z)  # [*batch, values]
    return _log_expected_phi(log_weights, signed_z)


def gap_parts(
    human: Distribution, mental_model: Distribution
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return (E_{a ~ π_h}[ln π_h(a|s)], E_{a' ~ π̂}[ln π_h(a'|s)]), nats: the two parts of the expected gap.

    The first is how sure the human is (minus the entropy of π_h). The second is how well the action expected of the
    robot fits the human. Exact for categorical distributions and diagonal Gaussians, by reparameterised Monte Carlo for
    others.

    Args:
        human: Policy of the human, π_h(·|s).
        mental_model: Distribution that the human expects of the robot's action, π̂(·|s).
    """
    if isinstance(human, Categorical) and isinstance(mental_model, Categorical):
        return (human.probs * human.logits).sum(-1), (mental_model.probs * human.logits).sum(-1)

    if _is_diagonal_gaussian(human) and _is_diagonal_gaussian(mental_model):
        belief = mental_model.base_dist
        # E[ln N(a'; μ, s²)] = ln N(m; μ, s²) − ½ Σ t²/s²
        spread = 0.5 * (belief.variance / human.base_dist.variance).sum(-1)
        return -human.entropy(), human.log_prob(belief.mean) - spread

    shape = torch.Size([MONTE_CARLO_SAMPLES])
    own = human.log_prob(_reparameterised(human).rsample(shape)).mean(0)
    expected = human.log_prob(_reparameterised(mental_model).rsample(shape)).mean(0)
    return own, expected


def expected_gap(human: Distribution, mental_model: Distribution) -> Float[Tensor, "*batch"]:
    """Return E_{a ~ π_h}[gap], nats: how much better the human's action is than the one expected of the robot."""
    own, expected = gap_parts(human, mental_model)
    return own - expected


def intervention_floor(cost: float, scale: float) -> float:
    """Return Φ(−c/σ): p(ν=1|s) where the human's action is no better than the one expected of the robot.

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


# z = (gap − c) / σ and the expectation over it


def _standardised_gap(
    human: Distribution, mental_model: Distribution, cost: float, scale: float
) -> tuple[Tensor, Tensor]:
    """Return the log-weights of the values that the gap takes, and z for each of them, `[*batch, values]`."""
    check_cost_and_scale(cost, scale)
    if scale < MIN_LAGUERRE_SCALE and _is_diagonal_gaussian(human) and _is_diagonal_gaussian(mental_model):
        return _steep_gaussian_standardised_gap(human, mental_model, cost, scale)
    log_weights, gap = _gap(human, mental_model, scale)
    return log_weights, (gap - cost) / scale


def _log_expected_phi(log_weights: Tensor, z: Tensor) -> Tensor:
    """Return log E[Φ(z)], computed in the log-weights' precision; rounding must not make it positive."""
    return (log_weights + log_ndtr(z.to(log_weights))).logsumexp(-1).clamp(max=0).to(z)


def _gap(human: Distribution, mental_model: Distribution, scale: float) -> tuple[Tensor, Tensor]:
    """Return log-weights and values of the gap, in steps that are fine enough for a Φ of this scale."""
    if isinstance(human, Categorical) and isinstance(mental_model, Categorical):
        return _categorical_gap(human, mental_model)
    if _is_diagonal_gaussian(human) and _is_diagonal_gaussian(mental_model):
        return _gaussian_gap(human, mental_model, scale)
    return _sampled_gap(human, mental_model)


def _categorical_gap(human: Categorical, mental_model: Categorical) -> tuple[Tensor, Tensor]:
    """Return log π_h(a) and the gap for every action a, `[*batch, actions]`."""
    log_human = human.logits
    expected = (mental_model.logits.exp() * log_human).sum(-1, keepdim=True)  # E_{a' ~ π̂}[ln π_h(a')], [*batch, 1]
    return log_human, log_human - expected


def _sampled_gap(human: Distribution, mental_model: Distribution) -> tuple[Tensor, Tensor]:
    """Return log-weights `[samples]` and gaps `[*batch, samples]` for reparameterised draws of any distribution."""
    shape = torch.Size([MONTE_CARLO_SAMPLES])
    expected = human.log_prob(_reparameterised(mental_model).rsample(shape)).mean(0)  # [*batch]
    gap = (human.log_prob(_reparameterised(human).rsample(shape)) - expected).movedim(0, -1)
    return gap.new_full(shape, -math.log(MONTE_CARLO_SAMPLES)), gap


def _reparameterised(distribution: Distribution) -> Distribution:
    if not distribution.has_rsample:
        raise TypeError(f"expected a categorical or a reparameterised distribution, got {distribution}")
    return distribution


# diagonal Gaussians: a one-dimensional integral


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
    Gauss-Laguerre quadrature integrates over g.
    """
    largest_gap = _largest_gap(human, mental_model)  # K, [*batch]
    g, log_weights = _gamma_quadrature(human.event_shape[0] / 2, _num_gamma_nodes(scale))
    return log_weights.to(largest_gap), largest_gap.unsqueeze(-1) - g.to(largest_gap)


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


def _steep_gaussian_standardised_gap(
    human: Independent, mental_model: Independent, cost: float, scale: float
) -> tuple[Tensor, Tensor]:
    """Return log-weights and z, both `[*batch, nodes]`, for a Φ so narrow that it is a step.

    With b = K − c and g = u² (see `_gaussian_gap`)

        p(ν=1|s) = ∫ 2 u^(d−1) e^(−u²) / Γ(d/2) Φ((b − u²)/σ) du

    and the integrand is smooth at 0 whatever the dimension d. Gauss-Legendre quadrature on panels that follow the step
    serves ν=0 and ν=1 alike, in the bulk and in the tails. The panels move with b, but carry no gradient.

    The log-weights are float64 where the device has it: float32 cannot hold b − u², nor the gradient of log Φ far out.
    """
    dims = human.event_shape[0]
    largest_gap = _largest_gap(human, mental_model)
    on_mps = largest_gap.device.type == "mps"  # Apple's GPUs have no float64
    b = (largest_gap if on_mps else largest_gap.double()) - cost  # [*batch]

    # nodes
    left, right = _panels(b.detach(), dims, scale)  # [*batch, 3]
    width = (right - left).clamp(min=MIN_PANEL_WIDTH).unsqueeze(-1)
    points, weights = (part.to(b) for part in _legendre_quadrature())  # [NODES_PER_PANEL]
    u = (left.unsqueeze(-1) + width * points).flatten(-2)  # [*batch, nodes]
    log_steps = (width * weights).log().flatten(-2)

    # integrand
    log_density = math.log(2) + (dims - 1) * u.log() - u.square() - math.lgamma(dims / 2)
    z = (b.unsqueeze(-1) - u.square()) / scale
    return log_steps + log_density, z.to(largest_gap)


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
