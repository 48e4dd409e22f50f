import math

import pytest
import torch
from scipy.stats import norm
from torch.distributions import Categorical, Independent, Normal

from mile.intervention import action_log_phi, intervention_log_probs
from mile.losses import (
    action_nll,
    continuous_intervention_loss,
    discrete_intervention_loss,
    extended_cross_entropy,
    joint_log_likelihood,
    scaled_by,
    weighted_sum,
    with_silence,
)


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
    silent = (~intervened).float()
    extended = with_silence(terms, policy, robot_action, silent, cost, spread=1.0, weight=2.0)

    by_hand = 0.0
    for i in (1, 3, 4, 5):
        by_hand = by_hand - Normal(policy.mean[i], policy.stddev[i]).log_prob(robot_action[i]).sum() / 6
    torch.testing.assert_close(extended.silence_loss, by_hand)
    torch.testing.assert_close(extended.loss, terms.loss + 2.0 * share * by_hand)
    assert extended.policy_loss == terms.policy_loss


def test_a_step_counts_by_how_probable_it_is_that_the_human_is_content():
    torch.manual_seed(0)
    policy = Categorical(logits=torch.randn(4, 3))
    robot_action, silent = torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 0.25, 0.0, 0.5])
    nothing = weighted_sum(torch.zeros(()), torch.zeros(()), 0.5)
    terms = with_silence(nothing, policy, robot_action, silent, cost=3.0, spread=0.03, weight=1.0)
    by_hand = 0.0
    for i, share in enumerate(silent.tolist()):
        by_hand = by_hand - share * math.log(policy.probs[i, robot_action[i]]) / 4
    assert terms.silence_loss.item() == pytest.approx(by_hand, rel=1e-5)
    assert terms.loss.item() == pytest.approx(0.01 * by_hand, rel=1e-5)


def test_a_step_that_says_nothing_spoils_no_gradient():
    mean = torch.zeros(2, 1, requires_grad=True)
    policy = Independent(Normal(mean, torch.ones(2, 1), validate_args=False), 1, validate_args=False)
    nothing = weighted_sum(torch.zeros(()), torch.zeros(()), 0.5)
    silent, robot_action = torch.tensor([1.0, 0.0]), torch.tensor([[0.5], [torch.inf]])
    terms = with_silence(nothing, policy, robot_action, silent, cost=1.0, spread=0.5, weight=1.0)
    assert terms.loss.isfinite()


@pytest.mark.parametrize(("cost", "spread", "share"), [(-2.0, 0.5, 1), (0.0, 0.0, 1), (-1.0, 0.0, 1), (1.0, 0.0, 0)])
def test_silence_at_a_cost_of_nothing_is_worth_all_and_without_a_spread_nothing(cost, spread, share):
    policy = Categorical(logits=torch.zeros(2, 3))
    nothing = weighted_sum(torch.zeros(()), torch.zeros(()), 0.5)
    actions, silent = torch.zeros(2, dtype=torch.long), torch.ones(2)
    terms = with_silence(nothing, policy, actions, silent, cost=cost, spread=spread, weight=1.0)
    assert terms.loss.item() == pytest.approx(share * math.log(3))


# other likelihoods of the human's action


def test_the_scaled_policy_is_the_normal_distribution_of_scaled_mean_and_width():
    torch.manual_seed(2)
    policy = Independent(Normal(torch.randn(6, 3).double(), torch.rand(6, 3).double() + 0.1), 1)
    log_prob = torch.linspace(-9, 0, 6).double()
    action = torch.randn(6, 3).double() * log_prob.exp().unsqueeze(-1)
    prob = log_prob.exp().unsqueeze(-1).numpy()
    truth = norm.logpdf(action.numpy(), prob * policy.mean.numpy(), prob * policy.stddev.numpy()).sum(-1)
    assert scaled_by(policy, log_prob).log_prob(action).tolist() == pytest.approx(truth.tolist(), rel=1e-9)


def test_the_scaled_policy_keeps_finite_densities_and_gradients_where_nobody_intervenes():
    mean = torch.randn(3, 2).requires_grad_()
    log_prob = torch.tensor([-1e4, -100.0, -5e7]).requires_grad_()
    density = scaled_by(Independent(Normal(mean, torch.ones(3, 2)), 1), log_prob).log_prob(torch.zeros(3, 2))
    assert density.isfinite().all()
    for gradient in torch.autograd.grad(density.sum(), [mean, log_prob]):
        assert gradient.isfinite().all()


def test_discrete_actions_cannot_be_scaled():
    with pytest.raises(ValueError, match="needs continuous actions of a diagonal Gaussian") as error:
        scaled_by(Categorical(logits=torch.zeros(2, 3)), torch.zeros(2))
    assert "\n" not in str(error.value)


def test_the_joint_likelihood_of_what_may_happen_adds_up_to_one():
    """Over all actions with ν=1, and ν=0, Eq. 1: π(a) Φ(z(a)) and p(ν=0)."""
    torch.manual_seed(3)
    policy, belief = Categorical(logits=torch.randn(6, 4)), Categorical(logits=torch.randn(6, 4))
    yes, no = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    total = joint_log_likelihood(policy, belief, torch.full((6,), -1), no, 0.5, 0.8).exp()
    for action in range(4):
        log_phi = joint_log_likelihood(policy, belief, torch.full((6,), action), yes, 0.5, 0.8)
        total = total + policy.probs[:, action] * log_phi.exp()
    torch.testing.assert_close(total, torch.ones(6))


def test_the_joint_likelihood_takes_each_steps_own_part_and_no_nan_enters_a_gradient():
    parameters, policy, belief = continuous()
    intervened = torch.tensor([True, False, True, False, False])
    action = torch.where(intervened.unsqueeze(-1), torch.randn(5, 3, dtype=torch.float64), torch.nan)
    costs = torch.randn(5, dtype=torch.float64)
    joint = joint_log_likelihood(policy, belief, action, intervened, costs, 2.0)
    log_not, _ = intervention_log_probs(policy, belief, costs, 2.0)
    torch.testing.assert_close(joint[~intervened], log_not[~intervened])
    log_phi = action_log_phi(policy, belief, action, costs, 2.0)
    torch.testing.assert_close(joint[intervened], log_phi[intervened])
    for gradient in torch.autograd.grad(joint.sum(), parameters):
        assert gradient.isfinite().all()
        assert (gradient != 0).all()


def test_far_actions_have_a_finite_joint_likelihood():
    mean = torch.zeros(2, 2, requires_grad=True)
    policy, belief = (Independent(Normal(part, torch.ones(2, 2)), 1) for part in (mean, torch.zeros(2, 2)))
    action = torch.tensor([[1e3, 1e3], [-1e3, 1e3]])
    joint = joint_log_likelihood(policy, belief, action, torch.tensor([True, True]), 1.0, 0.01)
    assert joint.isfinite().all()
    assert torch.autograd.grad(joint.sum(), mean)[0].isfinite().all()


def test_the_parts_are_joined_as_eq_3_and_eq_5_say():
    when, how = torch.tensor(2.0), torch.tensor(3.0)
    assert extended_cross_entropy(when, how, torch.tensor(0.25)).loss == 2.75
    assert weighted_sum(when, how, 0.25).loss == 0.25 * 2 + 0.75 * 3
    assert weighted_sum(when, how, 1.0, policy_weight=1.0).loss == 5
    assert weighted_sum(when, how, 0.5)[1:] == (when, how)


def test_the_joint_loss_of_discrete_actions_is_the_negative_logarithm_of_eq_1():
    torch.manual_seed(4)
    policy, belief = Categorical(logits=torch.randn(6, 4)), Categorical(logits=torch.randn(6, 4))
    action, intervened = torch.tensor([0, 3, -1, 2, -1, 1]), torch.tensor([True, True, False, True, False, True])
    when = -joint_log_likelihood(policy, belief, action, intervened, 0.5, 0.8).mean()
    terms = extended_cross_entropy(when, action_nll(policy, action, intervened), share=intervened.float().mean())

    # by hand
    log_not, _ = intervention_log_probs(policy, belief, 0.5, 0.8)
    by_hand = 0.0
    for i in range(6):
        if intervened[i]:
            expected = (belief.probs[i] * policy.logits[i]).sum()
            z = (policy.logits[i, action[i]] - expected - 0.5) / 0.8
            by_hand = by_hand - policy.logits[i, action[i]].item() - norm.logcdf(z.item())
        else:
            by_hand = by_hand - log_not[i].item()
    assert terms.loss.item() == pytest.approx(by_hand / 6, rel=1e-5)
