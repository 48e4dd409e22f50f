"""What models of humans in time ask of Eq. 1-2: a cost for each state, mixtures as mental models, single actions."""

import math

import pytest
import torch
from scipy.stats import norm
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mile.intervention import (
    action_log_phi,
    action_spread,
    expected_gap,
    gap_parts,
    intervention_log_likelihood,
    intervention_log_probs,
)

SCALES = [0.05, 0.2, 0.25, 0.7, 3.0]  # below .25 the steep quadrature, above Gauss-Laguerre


def gaussian(*shape, dims=3):
    mean = torch.randn(*shape, dims, dtype=torch.float64)
    return Independent(Normal(mean, 0.4 + torch.rand_like(mean)), 1)


def categorical(*shape, actions=4):
    return Categorical(logits=2 * torch.randn(*shape, actions, dtype=torch.float64))


def mixture(batch, components=3, dims=3):
    weights = Categorical(probs=torch.rand(batch, components, dtype=torch.float64))
    return MixtureSameFamily(weights, gaussian(batch, components, dims=dims))


def one(distribution, i):
    """Return the distribution in state i alone."""
    if isinstance(distribution, Categorical):
        return Categorical(logits=distribution.logits[i : i + 1])
    base = distribution.base_dist
    return Independent(Normal(base.mean[i : i + 1], base.stddev[i : i + 1]), 1)


# a cost for each state


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make", [gaussian, categorical])
def test_a_cost_for_each_state_is_a_loop_over_states(make, scale):
    torch.manual_seed(0)
    human, robot = make(8), make(8)
    costs = (4 * torch.randn(8, dtype=torch.float64)).requires_grad_()
    action, intervened = human.sample(), torch.arange(8) % 2 == 0
    log_probs = intervention_log_probs(human, robot, costs, scale)
    likelihood = intervention_log_likelihood(human, robot, intervened, costs, scale)
    log_phi = action_log_phi(human, robot, action, costs, scale)
    for i, cost in enumerate(costs.tolist()):
        alone = intervention_log_probs(one(human, i), one(robot, i), cost, scale)
        for together, apart in zip(log_probs, alone, strict=True):
            torch.testing.assert_close(together[i], apart[0])
        torch.testing.assert_close(likelihood[i], alone[int(intervened[i])][0])
        torch.testing.assert_close(
            log_phi[i], action_log_phi(one(human, i), one(robot, i), action[i : i + 1], cost, scale)[0]
        )
    (gradient,) = torch.autograd.grad(log_probs[1].sum(), costs)
    assert (gradient <= 0).all()  # the dearer, the rarer
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("scale", [0.1, 0.7])
@pytest.mark.parametrize("make", [gaussian, categorical])
def test_the_gradient_by_the_cost_of_each_state_is_right(make, scale):
    torch.manual_seed(1)
    human, robot = make(4), make(4)
    costs = torch.randn(4, dtype=torch.float64).requires_grad_()
    intervened = torch.arange(4) % 2 == 0
    gap = expected_gap(human, robot)
    assert torch.autograd.gradcheck(
        lambda cost: intervention_log_likelihood(human, robot, intervened, gap.detach() + cost, scale), [costs]
    )


# mixtures of Gaussians as mental models


@pytest.mark.parametrize("scale", [0.05, 0.25, 3.0])
def test_a_mixture_of_gaussians_agrees_with_a_million_samples(scale):
    torch.manual_seed(2)
    human, robot, cost = gaussian(2), mixture(2), 2.0
    samples = 10**6
    expected = human.log_prob(robot.sample((samples,)))
    z = (human.log_prob(human.sample((samples,))) - expected.mean(0) - cost) / scale
    phi = torch.special.ndtr(z)
    error = 5 * (phi.std(0) + 0.4 / scale * expected.std(0)) / samples**0.5
    log_not, log_prob = intervention_log_probs(human, robot, cost, scale)
    assert ((log_prob.exp() - phi.mean(0)).abs() < error + 1e-4).all()
    torch.testing.assert_close(log_prob.exp() + log_not.exp(), torch.ones(2, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_only_the_mean_gap_of_a_mixture_matters(scale):
    """The gap is linear in the mental model: one Gaussian with the mean of the components' gaps is as good."""
    torch.manual_seed(3)
    human, robot = gaussian(5), mixture(5)
    own, expected = gap_parts(human, robot)
    weights, components = robot.mixture_distribution.probs, robot.component_distribution
    by_component = torch.zeros(5, dtype=torch.float64)
    for m in range(3):
        base = components.base_dist
        component = Independent(Normal(base.mean[:, m], base.stddev[:, m]), 1)
        by_component = by_component + weights[:, m] * gap_parts(human, component)[1]
    torch.testing.assert_close(expected, by_component)
    torch.testing.assert_close(own, -human.entropy())

    # one Gaussian around the human's own mean, as wide as it takes
    factor = (2 / 3 * (human.log_prob(human.mean) - expected)).sqrt().unsqueeze(-1)
    equal = Independent(Normal(human.mean, factor * human.stddev), 1)
    for mixed, single in zip(
        intervention_log_probs(human, robot, 1.0, scale), intervention_log_probs(human, equal, 1.0, scale), strict=True
    ):
        torch.testing.assert_close(mixed, single, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("scale", [0.1, 0.7])
def test_a_mixture_of_one_component_is_that_component(scale):
    torch.manual_seed(4)
    human, robot = gaussian(5), gaussian(5)
    base = robot.base_dist
    components = Independent(Normal(base.mean.unsqueeze(1), base.stddev.unsqueeze(1)), 1)
    mixed = MixtureSameFamily(Categorical(logits=torch.zeros(5, 1, dtype=torch.float64)), components)
    costs = torch.randn(5, dtype=torch.float64)
    for log_prob, truth in zip(
        intervention_log_probs(human, mixed, costs, scale),
        intervention_log_probs(human, robot, costs, scale),
        strict=True,
    ):
        torch.testing.assert_close(log_prob, truth)


# single actions


@pytest.mark.parametrize("scale", [0.1, 0.7, 3.0])
@pytest.mark.parametrize("belief", [gaussian, mixture])
def test_actions_of_the_human_are_worth_the_effort_as_often_as_the_human_intervenes(belief, scale):
    """E over a ~ π of Φ(z(a)) is p(ν=1), Eq. 1."""
    torch.manual_seed(5)
    human, robot = gaussian(3), belief(3)
    costs = expected_gap(human, robot) + torch.tensor([-1.0, 0.0, 1.0])
    samples = 200_000
    actions = human.sample((samples,))
    phi = action_log_phi(human, robot, actions, costs, scale).exp()
    truth = intervention_log_probs(human, robot, costs, scale)[1].exp()
    assert ((phi.mean(0) - truth).abs() < 4 * phi.std(0) / samples**0.5 + 1e-4).all()


def test_discrete_actions_are_worth_the_effort_as_often_as_the_human_intervenes():
    torch.manual_seed(6)
    human, robot = categorical(6), categorical(6)
    total = torch.zeros(6, dtype=torch.float64)
    for action in range(4):
        worth = action_log_phi(human, robot, torch.full((6,), action), 0.5, 0.8).exp()
        total = total + human.probs[:, action] * worth
    torch.testing.assert_close(total, intervention_log_probs(human, robot, 0.5, 0.8)[1].exp())


def test_an_action_by_hand():
    human, robot = Categorical(torch.tensor([0.5, 0.25, 0.25])), Categorical(torch.tensor([0.0, 0.5, 0.5]))
    z = (math.log(0.5) - math.log(0.25) - 0.3) / 2
    log_phi = action_log_phi(human, robot, torch.tensor(0), 0.3, 2.0)
    assert log_phi.item() == pytest.approx(norm.logcdf(z), rel=1e-5)


# the spread of the human's own actions


def test_the_spread_of_discrete_actions_by_hand():
    human = Categorical(torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64))
    assert action_spread(human).tolist() == pytest.approx([0.5 * math.log(2), 0.0])


def test_the_spread_of_discrete_actions_is_0_where_there_is_one_action():
    certain = Categorical(logits=torch.tensor([0.0, -torch.inf, -torch.inf]))
    assert action_spread(certain).item() == 0


@pytest.mark.parametrize("dims", [1, 4])
def test_the_spread_of_gaussian_actions_is_that_of_samples(dims):
    torch.manual_seed(7)
    human = gaussian(3, dims=dims)
    samples = human.log_prob(human.mean) - human.log_prob(human.sample((100_000,)))
    assert ((action_spread(human) - samples.mean(0)).abs() < 5 * samples.std(0) / 100_000**0.5).all()
    assert action_spread(human).tolist() == [dims / 2] * 3


def test_the_spread_of_other_actions_is_estimated_from_samples():
    torch.manual_seed(8)
    identity = [torch.distributions.AffineTransform(0.0, 1.0)]
    disguised = Independent(torch.distributions.TransformedDistribution(gaussian(5, dims=2).base_dist, identity), 1)
    assert ((action_spread(disguised) - 1).abs() < 0.2).all()
