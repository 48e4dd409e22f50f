"""The intervention model of Sec. IV, Eq. 1-2: when does a human take over?

A human who would act by π_h, and believes that the robot acts by π̂, intervenes in state s with probability

    p(ν=1|s) = E_{a ~ π_h} [ Φ((ln π_h(a|s) − E_{a' ~ π̂}[ln π_h(a'|s)] − c) / σ) ]

The difference of log-probabilities is called the gap of an action, and z = (gap − c) / σ the standardised gap, so that
p(ν=1|s) = E[Φ(z)]. Eq. 1 splits this probability by the human's action; Eq. 2 is the expectation, and from it the
probability π_h(a|s) p(ν=1|s) of an intervention with action a, which `mile.losses` uses.

Everything is computed in log space: log Φ keeps its value and its gradient where Φ itself rounds to 0 or 1, and
1 − Φ(z) = Φ(−z) gives the probability of ν=0 as exactly. Every expectation is a sum over values of the gap, each with
a log-weight: the actions of a categorical π_h, the nodes of a quadrature, or points.
"""

import math

import torch
from jaxtyping import Bool, Float
from scipy.special import ndtr
from torch import Tensor
from torch.distributions import Categorical, Distribution
from torch.special import log_ndtr
from zuko.distributions import NormalizingFlow

from mile.expectations import (
    MONTE_CARLO_SAMPLES,
    POINTS,
    expected_log_prob,
    log_prob_spread,
    log_probs_at,
    weighted_points,
)
from mile.preference import preference_log_prob
from mile.quadrature import (
    gaussian_gap,
    is_diagonal_gaussian,
    is_gaussian_belief,
    is_gaussian_mixture,
    is_steep,
    largest_gap,
    steep_gaussian_standardised_gap,
)

# Eq. 1 and 2


def intervention_log_probs(
    human: Distribution, mental_model: Distribution, cost: float | Tensor, scale: float | Tensor
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return (log p(ν=0|s), log p(ν=1|s)), differentiable in both distributions.

    Exact for categorical distributions, by quadrature for diagonal Gaussians, over fixed points for mixtures of them
    (`mile.expectations.weighted_points`), and by reparameterised Monte Carlo for all others. The quadrature's error in
    float64, in up to 8 dimensions:

    * For a scale of 0.25 and above, in p(ν|s): 1e-4 at 0.25, below 2e-5 from 0.3 and 5e-6 from 0.5. The tails of
      log p(ν|s), say below −10, and their gradients are less accurate, those of ν=0 the less the further out.
    * For a scale from 0.01 up to 0.25, and K − c (`largest_gap`) from −1e3 to 1e4: 2e-11 in p(ν|s), 1e-10 in
      log p(ν|s) and 1e-6 in its derivative by K, the last two relative where the value exceeds 1.
    * For a scale below 0.01 likewise, but the derivative's error in the deep tail of ν=1 grows as 2e-16 ((K − c)/σ)².

    In more dimensions, as of several actions at once, its error in p(ν|s) at a scale from 0.3 on, and costs around the
    mean gap, is at most 3e-6 up to 48 dimensions, 1e-5 up to 64, and 3e-3 up to 256, which is the most.

    Args:
        human: Policy of the human, π_h(·|s), batch shape `[*batch]`: the expert's when interventions are simulated, π_θ
            when they are learnt from.
        mental_model: Distribution that the human expects of the robot's action, π̂(·|s), of the same batch shape; a
            `MixtureSameFamily` of diagonal Gaussians is as exact as one of them.
        cost: Effort of intervening, c, nats; or one for each state, `[*batch]`.
        scale: Standard deviation σ of Φ, nats, above 0.

    Raises:
        ValueError: Cost or scale is a number that is not finite, scale is not above 0, or Gaussians have more than 256
            dimensions.
        TypeError: A distribution is neither categorical nor reparameterised.

    Source: Sec. IV, Eq. 2 (with σ = 1), App. D for σ.
    """
    return log_expected_phis(*_standardised_gap(human, mental_model, cost, scale))


def log_expected_phis(log_weights: Tensor, z: Tensor) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return (log p(ν=0|s), log p(ν=1|s)) where z takes the values `[*batch, values]` with these log-weights."""
    log_not = log_expected_phi(log_weights, -z)  # E[1 − Φ(z)] = E[Φ(−z)]
    log_intervene = log_expected_phi(log_weights, z)  # Eq. 2
    return log_not, log_intervene


def intervention_log_likelihood(
    human: Distribution,
    mental_model: Distribution,
    intervened: Bool[Tensor, "*batch"],
    cost: float | Tensor,
    scale: float | Tensor,
) -> Float[Tensor, "*batch"]:
    """Return log p(ν|s) of the observed ν: one of the two of `intervention_log_probs`, at half the work.

    Args:
        human: Policy of the human, π_h(·|s).
        mental_model: Distribution that the human expects of the robot's action, π̂(·|s).
        intervened: Observed ν: true where the human intervened.
        cost: Effort of intervening, c, nats; or one for each state, `[*batch]`.
        scale: Standard deviation σ of Φ, nats, above 0.
    """
    log_weights, z = _standardised_gap(human, mental_model, cost, scale)
    signed_z = torch.where(intervened.unsqueeze(-1), z, -z)  # [*batch, values]
    return log_expected_phi(log_weights, signed_z)


def action_log_phi(
    human: Distribution, mental_model: Distribution, action: Tensor, cost: float | Tensor, scale: float | Tensor
) -> Float[Tensor, "*batch"]:
    """Return ln Φ(z) of one action, ln p(ν=1|s, a): how Eq. 1 weighs each action that the human may intervene with.

    Args:
        human: Policy of the human, π_h(·|s).
        mental_model: Distribution that the human expects of the robot's action, π̂(·|s).
        action: Action of the human, `[*batch]` or `[*batch, action_dim]`.
        cost: Effort of intervening, c, nats; or one for each state, `[*batch]`.
        scale: Standard deviation σ of Φ, nats, above 0.

    Source: Sec. IV, Eq. 1.
    """
    _, expected = gap_parts(human, mental_model)
    return preference_log_prob(human.log_prob(action), expected, cost, scale, link="probit")


def gap_parts(
    human: Distribution, mental_model: Distribution
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return (E_{a ~ π_h}[ln π_h(a|s)], E_{a' ~ π̂}[ln π_h(a'|s)]), nats: the two parts of the expected gap.

    The first is how sure the human is (minus the entropy of π_h). The second is how well the action expected of the
    robot fits the human. Exact for categorical distributions and diagonal Gaussians, over points for others.

    Args:
        human: Policy of the human, π_h(·|s).
        mental_model: Distribution that the human expects of the robot's action, π̂(·|s).
    """
    if is_gaussian_mixture(mental_model) and is_diagonal_gaussian(human):
        return -human.entropy(), human.log_prob(human.mean) - largest_gap(human, mental_model)

    if isinstance(human, Categorical) and isinstance(mental_model, Categorical):
        return (human.probs * human.logits).sum(-1), (mental_model.probs * human.logits).sum(-1)

    if is_diagonal_gaussian(human) and is_diagonal_gaussian(mental_model):
        belief = mental_model.base_dist
        # E[ln N(a'; μ, s²)] = ln N(m; μ, s²) − ½ Σ t²/s²
        spread = 0.5 * (belief.variance / human.base_dist.variance).sum(-1)
        return -human.entropy(), human.log_prob(belief.mean) - spread

    return expected_log_prob(human, human), expected_log_prob(human, mental_model)


def expected_gap(human: Distribution, mental_model: Distribution) -> Float[Tensor, "*batch"]:
    """Return E_{a ~ π_h}[gap], nats: how much better the human's action is than the one expected of the robot."""
    own, expected = gap_parts(human, mental_model)
    return own - expected


def action_spread(human: Distribution) -> Float[Tensor, "*batch"]:
    """Return E_{a ~ π_h}[ln π_h(a*|s) − ln π_h(a|s)], nats: how far own actions lie from the best one, a*.

    Exact for categorical distributions and for diagonal Gaussians, where it is d/2 in d dimensions; for others over
    points (`mile.expectations`).

    Args:
        human: Policy of the human, π_h(·|s).
    """
    if isinstance(human, Categorical):
        surprise = human.logits.amax(-1, keepdim=True) - human.logits  # [*batch, actions]
        return torch.where(human.probs > 0, human.probs * surprise, 0.0).sum(-1)
    if is_diagonal_gaussian(human):
        return torch.full_like(human.mean[..., 0], human.event_shape[0] / 2)
    return log_prob_spread(human)


def exactness(human: Distribution, mental_model: Distribution) -> str:
    """Return in words how p(ν=1|s) of two distributions is computed: exactly, over fixed points, or over samples."""
    is_discrete = isinstance(human, Categorical) and isinstance(mental_model, Categorical)
    if is_discrete or (is_diagonal_gaussian(human) and is_gaussian_belief(mental_model)):
        return "exact"
    for distribution in (human, mental_model):
        if not (is_gaussian_belief(distribution) or isinstance(distribution, NormalizingFlow)):
            return f"over {MONTE_CARLO_SAMPLES} samples"
    if is_gaussian_mixture(human):
        return f"over {POINTS} points of each component"
    return f"over {POINTS} quasi-random points"


def intervention_floor(cost: float, scale: float) -> float:
    """Return Φ(−c/σ): p(ν=1|s) where the human's action is no better than the one expected of the robot.

    Interventions that the floor explains carry no information.
    """
    check_cost_and_scale(cost, scale)
    return float(ndtr(-cost / scale))


def check_cost_and_scale(cost: float | Tensor, scale: float | Tensor) -> None:
    """Raise ValueError unless both are finite and scale is above 0; a cost for each state is not looked at."""
    if not isinstance(cost, Tensor) and not math.isfinite(cost):
        raise ValueError(f"cost (c, nats) must be finite, got {cost}")
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale (σ, nats) must be finite and above 0, got {scale}")


# z = (gap − c) / σ and the expectation over it


def _standardised_gap(
    human: Distribution, mental_model: Distribution, cost: float | Tensor, scale: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Return the log-weights of the values that the gap takes, and z for each of them, `[*batch, values]`."""
    check_cost_and_scale(cost, scale)
    if is_diagonal_gaussian(human) and is_gaussian_belief(mental_model) and is_steep(human.event_shape[0], scale):
        return steep_gaussian_standardised_gap(human, mental_model, cost, scale)
    log_weights, gap = gap_values(human, mental_model, float(scale))
    if isinstance(cost, Tensor):
        cost = cost.unsqueeze(-1).to(gap)  # [*batch, 1]
    return log_weights, (gap - cost) / scale


def log_expected_phi(log_weights: Tensor, z: Tensor) -> Tensor:
    """Return log E[Φ(z)], computed in the log-weights' precision; rounding must not make it positive."""
    return (log_weights + log_ndtr(z.to(log_weights))).logsumexp(-1).clamp(max=0).to(z)


def gap_values(human: Distribution, mental_model: Distribution, scale: float) -> tuple[Tensor, Tensor]:
    """Return log-weights and values of the gap, `[*batch, values]`, fine enough for a Φ of this scale or a wider one.

    Neither depends on the cost. That of Gaussians must not be steep (`mile.quadrature.is_steep`).
    """
    if isinstance(human, Categorical) and isinstance(mental_model, Categorical):
        return _categorical_gap(human, mental_model)
    if is_diagonal_gaussian(human) and is_gaussian_belief(mental_model):
        return gaussian_gap(human, mental_model, scale)
    return _gap_at_points(human, mental_model)


def _categorical_gap(human: Categorical, mental_model: Categorical) -> tuple[Tensor, Tensor]:
    """Return log π_h(a) and the gap for every action a, `[*batch, actions]`."""
    log_human = human.logits
    expected = (mental_model.logits.exp() * log_human).sum(-1, keepdim=True)  # E_{a' ~ π̂}[ln π_h(a')], [*batch, 1]
    return log_human, log_human - expected


def _gap_at_points(human: Distribution, mental_model: Distribution) -> tuple[Tensor, Tensor]:
    """Return log-weights and gaps of points that stand for any distribution, `[*batch, points]`."""
    expected = expected_log_prob(human, mental_model)
    log_weights, points = weighted_points(human)
    return log_weights, log_probs_at(human, points) - expected.unsqueeze(-1)
