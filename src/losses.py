"""What MILE minimises (Sec. IV, Eq. 3-5): pure functions that return every term."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.distributions import Categorical, Distribution

from mile.intervention import intervention_log_likelihood


class InterventionLoss(NamedTuple):
    """The terms of a loss, each a scalar in nats.

    Attributes:
        loss: what is minimised.
        intervention_loss: when does the human intervene: BCE of ν (Eq. 5's J₁).
        policy_loss: how do they: NLL of a_h under π_θ, the mean over steps with ν=1 (Eq. 4's J₂), 0 if there is none.
    """

    loss: Tensor
    intervention_loss: Tensor
    policy_loss: Tensor


def discrete_intervention_loss(
    policy: Categorical,
    mental_model: Categorical,
    human_action: Int[Tensor, "*batch"],
    intervened: Bool[Tensor, "*batch"],
    cost: float,
    scale: float,
    num_interventions: Float[Tensor, ""] | None = None,
) -> InterventionLoss:
    """Cross-entropy over the actions and the extra class "no intervention" (Eq. 3).

    The class probabilities are p(a) = π_θ(a|s) p(ν=1|s) (Eq. 2) and p(none) = p(ν=0|s). So the loss is the BCE of ν
    plus the share of intervention steps times their mean NLL.

    Args:
        policy: π_θ(·|s).
        mental_model: π̂_ξ(·|s).
        human_action: a_h; anything where ν=0.
        intervened: ν.
        cost: c, nats.
        scale: σ of Φ, nats.
        num_interventions: see `action_nll`.

    Source: Sec. IV, Eq. 3, with the labels of Fig. 2.
    """
    intervention_loss = _binary_cross_entropy(policy, mental_model, intervened, cost, scale)
    count = intervened.sum().float() if num_interventions is None else num_interventions
    policy_loss = action_nll(policy, human_action, intervened, count)
    loss = intervention_loss + count / intervened.numel() * policy_loss
    return InterventionLoss(loss, intervention_loss, policy_loss)


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
    """Weighted sum of the BCE of ν and the NLL of the human's actions, λ J₁ + (1 − λ) J₂ (Eq. 5).

    Args:
        policy: π_θ(·|s).
        mental_model: π̂_ξ(·|s).
        human_action: a_h; anything, NaN included, where ν=0.
        intervened: ν.
        cost: c, nats.
        scale: σ of Φ, nats.
        intervention_weight: λ.
        num_interventions: see `action_nll`.

    Source: Sec. IV, Eq. 4 and 5.
    """
    intervention_loss = _binary_cross_entropy(policy, mental_model, intervened, cost, scale)
    policy_loss = action_nll(policy, human_action, intervened, num_interventions)
    loss = intervention_weight * intervention_loss + (1 - intervention_weight) * policy_loss
    return InterventionLoss(loss, intervention_loss, policy_loss)


def _binary_cross_entropy(
    policy: Distribution, mental_model: Distribution, intervened: Tensor, cost: float, scale: float
) -> Tensor:
    return -intervention_log_likelihood(policy, mental_model, intervened, cost, scale).mean()


class LossWithSilence(NamedTuple):
    """The terms of `InterventionLoss`, and one more.

    Attributes:
        loss: what is minimised.
        intervention_loss: see `InterventionLoss`.
        policy_loss: see `InterventionLoss`.
        silence_loss: NLL of the robot's own action where ν=0, the mean over all steps.
    """

    loss: Tensor
    intervention_loss: Tensor
    policy_loss: Tensor
    silence_loss: Tensor


def with_silence(
    terms: InterventionLoss, policy: Distribution, robot_action: Tensor, intervened: Tensor, cost: float, weight: float
) -> LossWithSilence:
    """Add what silence says of the robot's own action (ours, not the paper's).

    A human who does not intervene finds the robot within c nats of themselves, while their own actions are about d/2
    nats from their best one (d: action dimensions; 1 if actions are discrete). So the robot's action is cloned where
    ν=0, with the weight (d/2) / max(c, d/2): fully if intervening is cheap, hardly if a human puts up with much.

    Args:
        terms: the method's own.
        policy: π_θ(·|s).
        robot_action: a_r, like the human's action.
        intervened: ν.
        cost: c, nats.
        weight: of the whole.
    """
    spread = (policy.event_shape.numel() if policy.event_shape else 1) / 2
    nll = -torch.where(intervened, 0.0, policy.log_prob(robot_action)).mean()
    return LossWithSilence(terms.loss + weight * spread / max(cost, spread) * nll, *terms[1:], nll)


def action_nll(
    policy: Distribution, human_action: Tensor, intervened: Tensor, num_interventions: Tensor | None = None
) -> Tensor:
    """Return the mean NLL of the human's actions over the steps with ν=1, nats (Eq. 4); 0 if there is none.

    Args:
        policy: π_θ(·|s).
        human_action: a_h; anything, NaN included, where ν=0.
        intervened: ν.
        num_interventions: Number of steps that the sum is divided by, a scalar; None: those with ν=1 here. A process of
            several that share a batch divides by the mean of their numbers: the mean of their losses, and of their
            gradients, is then that of the whole batch.
    """
    shown = intervened.reshape(intervened.shape + (1,) * len(policy.event_shape))
    # other steps get a valid action, so that no NaN enters a gradient
    log_prob = policy.log_prob(torch.where(shown, human_action, torch.zeros_like(human_action)))
    count = intervened.sum() if num_interventions is None else num_interventions
    return -torch.where(intervened, log_prob, 0.0).sum() / torch.where(count > 0, count, 1)
