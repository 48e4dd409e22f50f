import math

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from mile.intervention import intervention_log_probs
from mile.losses import continuous_intervention_loss, discrete_intervention_loss, with_silence


def test_discrete_loss_is_the_cross_entropy_of_the_extended_classes():
    torch.manual_seed(0)
    policy, belief = Categorical(logits=torch.randn(6, 4)), Categorical(logits=torch.randn(6, 4))
    action, intervened = torch.tensor([0, 3, -1, 2, -1, 1]), torch.tensor([True, True, False, True, False, True])
    terms = discrete_intervention_loss(policy, belief, action, intervened, cost=0.5, scale=2.0)

    log_none, log_prob = intervention_log_probs(policy, belief, 0.5, 2.0)
    classes = torch.cat([policy.probs * log_prob.exp().unsqueeze(-1), log_none.exp().unsqueeze(-1)], -1)
    torch.testing.assert_close(classes.sum(-1), torch.ones(6))
    labels = torch.where(intervened, action, 4)
    torch.testing.assert_close(terms.loss, torch.nn.functional.nll_loss(classes.log(), labels))


def continuous(batch=5, dims=3):
    """Parameters, policy and mental model: two Gaussians."""
    torch.manual_seed(1)
    parameters = [(0.5 * torch.randn(batch, dims, dtype=torch.float64)).requires_grad_() for _ in range(4)]
    mean, log_std, belief, belief_log_std = parameters
    policy = Independent(Normal(mean, log_std.exp()), 1)
    mental_model = Independent(Normal(belief, belief_log_std.exp()), 1)
    return parameters, policy, mental_model


def test_continuous_loss_is_the_weighted_sum_of_eq_5():
    _, policy, belief = continuous()
    intervened = torch.tensor([True, False, True, False, False])
    action = torch.where(intervened.unsqueeze(-1), torch.randn(5, 3, dtype=torch.float64), torch.nan)
    terms = continuous_intervention_loss(policy, belief, action, intervened, 1.0, 5.0, intervention_weight=0.3)

    # by hand
    _, log_prob = intervention_log_probs(policy, belief, 1.0, 5.0)
    bce = torch.nn.functional.binary_cross_entropy(log_prob.exp(), intervened.double())
    mean, std = policy.base_dist.mean, policy.base_dist.stddev
    density = -0.5 * ((action - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)
    nll = -density[intervened].sum(-1).mean()

    torch.testing.assert_close(terms.intervention_loss, bce)
    torch.testing.assert_close(terms.policy_loss, nll)
    torch.testing.assert_close(terms.loss, 0.3 * bce + 0.7 * nll)


def test_policy_loss_leaves_the_mental_model_alone_and_no_nan_enters_a_gradient():
    parameters, policy, belief = continuous()
    intervened = torch.tensor([True, False, True, False, False])
    action = torch.where(intervened.unsqueeze(-1), torch.zeros(5, 3, dtype=torch.float64), torch.nan)
    terms = continuous_intervention_loss(policy, belief, action, intervened, 1.0, 2.0)

    gradients = torch.autograd.grad(terms.policy_loss, parameters, retain_graph=True, allow_unused=True)
    assert gradients[2] is None
    assert gradients[3] is None

    for gradient in torch.autograd.grad(terms.loss, parameters):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_a_batch_without_interventions_has_no_policy_loss():
    _, policy, belief = continuous()
    action = torch.full((5, 3), torch.nan, dtype=torch.float64)
    terms = continuous_intervention_loss(policy, belief, action, torch.zeros(5, dtype=torch.bool), 1.0, 2.0)
    assert terms.policy_loss == 0
    assert terms.loss.isfinite()


@pytest.mark.parametrize(("cost", "share"), [(0.5, 1.0), (1.0, 1.0), (4.0, 0.25)])
def test_silence_says_the_less_the_more_a_human_puts_up_with(cost, share):
    """Two dimensions: an own action is one nat from the best one, so the robot's is cloned with weight 1 / cost."""
    torch.manual_seed(0)
    policy, belief = (Independent(Normal(torch.randn(6, 2), torch.rand(6, 2) + 0.5), 1) for _ in range(2))
    human_action, robot_action = torch.randn(6, 2), torch.randn(6, 2)
    intervened = torch.tensor([True, False, True, False, False, False])
    terms = continuous_intervention_loss(policy, belief, human_action, intervened, cost, 1.0)
    extended = with_silence(terms, policy, robot_action, intervened, cost, 2.0)

    by_hand = 0.0
    for i in (1, 3, 4, 5):
        by_hand = by_hand - Normal(policy.mean[i], policy.stddev[i]).log_prob(robot_action[i]).sum() / 6
    torch.testing.assert_close(extended.silence_loss, by_hand)
    torch.testing.assert_close(extended.loss, terms.loss + 2.0 * share * by_hand)
    assert extended.policy_loss == terms.policy_loss
