"""The losses of MILE (Sec. IV, Eq. 3-5): pure functions that return every term."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from mile.intervention import action_log_phi, intervention_log_likelihood
from mile.quadrature import is_diagonal_gaussian

TINY = 1e-24  # square of the spread along no direction at all
LOG_STD_BOUNDS = (-20.0, 2.0)  # of the scaled policy, in the authors' code


class InterventionLoss(NamedTuple):
    """The terms of a loss, each a scalar in nats.

    Attributes:
        loss: Sum that is minimised.
        intervention_loss: BCE of ν (Eq. 5's J₁): *when* does the human intervene?
        policy_loss: Mean NLL of a_h under π_θ over the steps with ν=1 (Eq. 4's J₂), 0 if there is none: *how* does the
            human intervene?
    """

    loss: Tensor
    intervention_loss: Tensor
    policy_loss: Tensor


# the two terms, J₁ and J₂


def _binary_cross_entropy(
    policy: Distribution, mental_model: Distribution, intervened: Tensor, cost: float, scale: float
) -> Tensor:
    """Return J₁, the BCE of ν: −mean log p(ν|s) over all steps, nats."""
    return -intervention_log_likelihood(policy, mental_model, intervened, cost, scale).mean()


def action_nll(
    policy: Distribution, human_action: Tensor, intervened: Tensor, num_interventions: Tensor | None = None
) -> Tensor:
    """Return J₂, the mean NLL of the human's actions over the steps with ν=1, nats (Eq. 4); 0 if there is none.

    Args:
        policy: Learnt policy π_θ(·|s).
        human_action: Action of the human, a_h; anything, NaN included, where ν=0.
        intervened: Observed ν.
        num_interventions: Number of steps that the sum is divided by, a scalar; None: those with ν=1 here. A process of
            several that share a batch divides by the mean of their numbers: the mean of their losses, and of their
            gradients, is then that of the whole batch.
    """
    log_prob = policy.log_prob(valid_action(policy, human_action, intervened))  # [*batch]

    count = intervened.sum() if num_interventions is None else num_interventions
    return -torch.where(intervened, log_prob, 0.0).sum() / torch.where(count > 0, count, 1)


def valid_action(policy: Distribution, human_action: Tensor, intervened: Bool[Tensor, "*batch"]) -> Tensor:
    """Return valid actions everywhere, so that no NaN enters a gradient: zeros where ν=0."""
    mask = intervened.reshape(intervened.shape + (1,) * len(policy.event_shape))  # [*batch], or [*batch, 1]
    return torch.where(mask, human_action, torch.zeros_like(human_action))


def direction_nll(
    policy: Distribution, robot_action: Float[Tensor, "*batch actions"], direction: Float[Tensor, "*batch actions"]
) -> Float[Tensor, "*batch"]:
    """Return −ln p(d · a > d · a_r) for a ~ π_θ, nats: how surprising it is that the robot should move further along d.

    A human who nudges the robot, or says which way, rules out a half-space of actions. For N(μ, s²) the probability of
    the other one is Φ(d · (μ − a_r) / √Σ d_i² s_i²). (Ours, not the paper's.)

    Args:
        policy: Learnt policy π_θ(·|s), a diagonal Gaussian.
        robot_action: Action that the robot proposed, a_r.
        direction: Direction d; anything, NaN included, where nobody gave one: the value there means nothing.

    Raises:
        ValueError: The policy is no diagonal Gaussian.
    """
    if not is_diagonal_gaussian(policy):
        raise ValueError(
            f"directions are learnt from by a diagonal Gaussian, got {type(policy).__name__} distribution; choose "
            "policy.head=gaussian"
        )
    along = direction.nan_to_num()
    normal = policy.base_dist  # pyright: ignore
    distance = (along * (normal.mean - robot_action)).sum(-1)
    spread = (along * normal.stddev).square().sum(-1).clamp_min(TINY).sqrt()  # no root of 0, whose gradient is infinite
    return -torch.special.log_ndtr(distance / spread)


# two other likelihoods of the human's action


def scaled_by(policy: Distribution, log_prob: Float[Tensor, "*batch"]) -> Independent:
    """Return N(p μ, (p s)²) for a policy N(μ, s²) and p = p(ν=1|s): an action in proportion to how sure the human is.

    In the authors' released code the simulated human acts so, and J₂ is taken under it.

    Args:
        policy: Diagonal Gaussian policy.
        log_prob: Logarithm of p(ν=1|s), nats.

    Raises:
        ValueError: The policy is no diagonal Gaussian.
    """
    if not is_diagonal_gaussian(policy):
        raise ValueError(
            "a human who acts in proportion to how sure they are needs continuous actions of a diagonal Gaussian, got "
            f"{type(policy).__name__} distribution; choose human=calibrated, and likelihood=product or joint"
        )
    normal = policy.base_dist
    log_prob = log_prob.unsqueeze(-1)
    log_std = (normal.stddev.log() + log_prob).clamp(*LOG_STD_BOUNDS)
    return Independent(Normal(normal.mean * log_prob.exp(), log_std.exp(), validate_args=False), 1, validate_args=False)


def joint_log_likelihood(
    policy: Distribution,
    mental_model: Distribution,
    human_action: Tensor,
    intervened: Bool[Tensor, "*batch"],
    cost: float | Tensor,
    scale: float | Tensor,
) -> Float[Tensor, "*batch"]:
    """Return ln p(ν|s), or where ν=1 ln p(ν=1|s, a_h): Eq. 1 without its factor π(a_h|s), which J₂ holds.

    Args:
        policy: Learnt policy π_θ(·|s).
        mental_model: Learnt mental model π̂_ξ(·|s).
        human_action: Action of the human, a_h; anything, NaN included, where ν=0.
        intervened: Observed ν.
        cost: Effort of intervening, c, nats; or one for each state, `[*batch]`.
        scale: Standard deviation σ of Φ, nats.

    Source: Sec. IV, Eq. 1.
    """
    action = valid_action(policy, human_action, intervened)
    of_action = action_log_phi(policy, mental_model, action, cost, scale)
    of_state = intervention_log_likelihood(policy, mental_model, intervened, cost, scale)
    return torch.where(intervened, of_action, of_state)


# the loss for discrete actions (Eq. 3), and for continuous ones (Eq. 5)


def extended_cross_entropy(intervention_loss: Tensor, policy_loss: Tensor, share: Tensor) -> InterventionLoss:
    """Return J₁ plus the share of steps with ν=1 times J₂: the cross-entropy of Eq. 3."""
    return InterventionLoss(intervention_loss + share * policy_loss, intervention_loss, policy_loss)


def weighted_sum(
    intervention_loss: Tensor, policy_loss: Tensor, weight: float, policy_weight: float | None = None
) -> InterventionLoss:
    """Return λ J₁ + (1 − λ) J₂ (Eq. 5); or, with a weight of J₂ of its own, λ J₁ + that weight × J₂."""
    if policy_weight is None:
        policy_weight = 1 - weight
    return InterventionLoss(weight * intervention_loss + policy_weight * policy_loss, intervention_loss, policy_loss)


def discrete_intervention_loss(
    policy: Categorical,
    mental_model: Categorical,
    human_action: Int[Tensor, "*batch"],
    intervened: Bool[Tensor, "*batch"],
    cost: float,
    scale: float,
    num_interventions: Float[Tensor, ""] | None = None,
) -> InterventionLoss:
    """Return the cross-entropy over the actions and the extra class "no intervention" (Eq. 3).

    The class probabilities are p(a) = π_θ(a|s) p(ν=1|s) (Eq. 2) and p(none) = p(ν=0|s). So the loss is the BCE of ν
    plus the share of intervention steps times their mean NLL.

    Args:
        policy: Learnt policy π_θ(·|s).
        mental_model: Learnt mental model π̂_ξ(·|s).
        human_action: Action of the human, a_h; anything where ν=0.
        intervened: Observed ν.
        cost: Effort of intervening, c, nats.
        scale: Standard deviation σ of Φ, nats.
        num_interventions: Number of steps that the NLL is averaged over; see `action_nll`.

    Source: Sec. IV, Eq. 3, with the labels of Fig. 2.
    """
    intervention_loss = _binary_cross_entropy(policy, mental_model, intervened, cost, scale)
    count = intervened.sum().float() if num_interventions is None else num_interventions
    policy_loss = action_nll(policy, human_action, intervened, count)
    return extended_cross_entropy(intervention_loss, policy_loss, share=count / intervened.numel())


def continuous_intervention_loss(
    policy: Distribution,
    mental_model: Distribution,
    human_action: Float[Tensor, "*batch actions"],
    intervened: Bool[Tensor, "*batch"],
    cost: float,
    scale: float,
    intervention_weight: float = 0.5,
    num_interventions: Float[Tensor, ""] | None = None,
) -> InterventionLoss:
    """Return the weighted sum of the BCE of ν and the NLL of the human's actions, λ J₁ + (1 − λ) J₂ (Eq. 5).

    Args:
        policy: Learnt policy π_θ(·|s).
        mental_model: Learnt mental model π̂_ξ(·|s).
        human_action: Action of the human, a_h; anything, NaN included, where ν=0.
        intervened: Observed ν.
        cost: Effort of intervening, c, nats.
        scale: Standard deviation σ of Φ, nats.
        intervention_weight: Weight λ of the BCE.
        num_interventions: Number of steps that the NLL is averaged over; see `action_nll`.

    Source: Sec. IV, Eq. 4 and 5.
    """
    intervention_loss = _binary_cross_entropy(policy, mental_model, intervened, cost, scale)
    policy_loss = action_nll(policy, human_action, intervened, num_interventions)
    return weighted_sum(intervention_loss, policy_loss, intervention_weight)


# silence (ours, not the paper's)


class LossWithSilence(NamedTuple):
    """The terms of `InterventionLoss`, and one more, each a scalar in nats.

    Attributes:
        loss: Sum that is minimised.
        intervention_loss: BCE of ν; see `InterventionLoss`.
        policy_loss: NLL of a_h; see `InterventionLoss`.
        silence_loss: NLL of the robot's own action where ν=0, the mean over all steps.
    """

    loss: Tensor
    intervention_loss: Tensor
    policy_loss: Tensor
    silence_loss: Tensor


def with_silence(
    terms: InterventionLoss,
    policy: Distribution,
    robot_action: Tensor,
    silent: Tensor,
    cost: float,
    spread: float,
    weight: float,
) -> LossWithSilence:
    """Return the loss with a term for what silence says of the robot's own action (ours, not the paper's).

    A human who does not intervene finds the robot within c nats of themselves, while their own actions lie `spread`
    nats from their best one (`mile.intervention.action_spread`). So the robot's action is cloned where the human is
    silent, with the weight spread / max(c, spread): fully if intervening is cheap, hardly if a human puts up with much.

    Args:
        terms: Terms of the method's own loss.
        policy: Learnt policy π_θ(·|s).
        robot_action: Action that the robot proposed, a_r, of the same form as the human's action.
        silent: How probable it is that the human is content with a step, in [0, 1]; 0 where ν=1.
        cost: Effort of intervening, c, nats.
        spread: Spread of the human's own actions, nats.
        weight: Factor of the whole term.
    """
    log_prob = policy.log_prob(robot_action)  # [*batch]
    silence_loss = -torch.where(silent > 0, silent * log_prob, 0.0).mean()
    silence_weight = weight if cost <= spread else weight * spread / cost

    return LossWithSilence(
        loss=terms.loss + silence_weight * silence_loss,
        intervention_loss=terms.intervention_loss,
        policy_loss=terms.policy_loss,
        silence_loss=silence_loss,
    )


def check_weights(
    intervention_weight: float, policy_weight: float | None, silence_weight: float, spread: float | None
) -> None:
    """Raise ValueError unless MILE's weights are in their ranges, and silence has a spread where it has a weight."""
    if not 0 <= intervention_weight <= 1:
        raise ValueError(f"intervention_weight (λ) must lie in [0, 1], got {intervention_weight}")
    if policy_weight is not None and not policy_weight >= 0:
        raise ValueError(f"policy_weight must be at least 0, got {policy_weight}")
    if not silence_weight >= 0:
        raise ValueError(f"silence_weight must be at least 0, got {silence_weight}")
    if silence_weight and (spread is None or not spread >= 0):
        raise ValueError(f"silence needs the spread of the human's own actions (nats, at least 0), got {spread}")
