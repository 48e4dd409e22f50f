"""Expectations over points, against samples, quadrature and formulas."""

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence
from torch.special import ndtr

from mile.expectations import divergence, expected_log_prob, normal_points, weighted_points
from mile.intervention import action_spread, exactness, expected_gap, gap_parts, intervention_log_probs
from mile.policies import FlowPolicy, GaussianPolicy, MixturePolicy
from mile.policies.sampling import draw, mode

COST, SCALE = 1.0, 1.0


def mixture(dims, components=3, batch=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits, mean, raw = (
        torch.randn(batch, components, *size, dtype=torch.float64, generator=generator)
        for size in ((), (dims,), (dims,))
    )
    parts = Independent(Normal(mean, torch.exp(0.3 * raw - 0.5)), 1)
    return MixtureSameFamily(Categorical(logits=logits), parts)


def gaussian(dims, seed=0):
    part = mixture(dims, components=1, seed=seed).component_distribution.base_dist
    return Independent(Normal(part.mean.squeeze(-2), part.stddev.squeeze(-2)), 1)


def alone(normal):
    """A Gaussian as a mixture of one."""
    part = Independent(Normal(normal.base_dist.mean.unsqueeze(-2), normal.base_dist.stddev.unsqueeze(-2)), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros(*normal.batch_shape, 1, dtype=torch.float64)), part)


@pytest.mark.parametrize("dims", [1, 2, 3, 5])
def test_points_have_the_moments_of_the_normal_distribution(dims):
    log_weights, points = normal_points(dims)
    weights = log_weights.exp().unsqueeze(-1)
    assert weights.sum() == pytest.approx(1)
    torch.testing.assert_close((weights * points).sum(0), torch.zeros(dims, dtype=torch.float64), atol=1e-9, rtol=0)
    second = (weights * points.square()).sum(0)
    torch.testing.assert_close(second, torch.ones(dims, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_probability_of_intervention_is_that_of_a_million_samples(dims):
    human, belief = mixture(dims, seed=1), mixture(dims, seed=2)
    log_not, log_intervene = intervention_log_probs(human, belief, COST, SCALE)
    torch.manual_seed(0)
    expected = human.log_prob(belief.sample(torch.Size([10**6]))).mean(0)
    sampled = ndtr((human.log_prob(human.sample(torch.Size([10**6]))) - expected - COST) / SCALE).mean(0)
    torch.testing.assert_close(log_intervene.exp(), sampled, atol={1: 1e-3, 2: 2e-2, 3: 2e-2}[dims], rtol=0)
    torch.testing.assert_close(log_not.exp() + log_intervene.exp(), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_a_mixture_of_one_is_the_gaussian_whose_quadrature_is_exact(dims):
    human, belief = gaussian(dims, seed=3), gaussian(dims, seed=4)
    exact = intervention_log_probs(human, belief, COST, SCALE)[1].exp()
    torch.testing.assert_close(
        intervention_log_probs(alone(human), alone(belief), COST, SCALE)[1].exp(),
        exact,
        atol={1: 1e-4, 2: 2e-2, 4: 2e-2}[dims],
        rtol=0,
    )
    for part, other in zip(gap_parts(human, belief), gap_parts(alone(human), alone(belief)), strict=True):
        torch.testing.assert_close(part, other)  # of a quadratic: exact with moments
    torch.testing.assert_close(action_spread(alone(human)), action_spread(human))


def test_in_one_dimension_it_is_what_numerical_integration_says():
    human, belief = mixture(1, seed=5), mixture(1, seed=6)
    grid = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    width = grid[1] - grid[0]
    at = grid[:, None, None].expand(-1, 6, 1)
    density, log_density = belief.log_prob(at).exp(), human.log_prob(at)
    expected = (density * log_density).sum(0) * width
    torch.testing.assert_close(expected_log_prob(human, belief), expected, atol=1e-3, rtol=0)
    prob = (log_density.exp() * ndtr((log_density - expected - COST) / SCALE)).sum(0) * width
    torch.testing.assert_close(intervention_log_probs(human, belief, COST, SCALE)[1].exp(), prob, atol=1e-3, rtol=0)
    torch.testing.assert_close(log_density.exp().sum(0) * width, torch.ones(6, dtype=torch.float64))


def test_divergences():
    first, second = gaussian(3, seed=7), gaussian(3, seed=8)
    torch.testing.assert_close(divergence(alone(first), alone(second)), kl_divergence(first, second))
    assert torch.equal(divergence(first, second), kl_divergence(first, second))
    several = mixture(2, seed=9)
    torch.testing.assert_close(divergence(several, several), torch.zeros(6, dtype=torch.float64))


def test_gradients_are_finite_far_out_and_reach_every_parameter():
    torch.manual_seed(0)
    human, belief = MixturePolicy(2, 3, (8,), components=4), MixturePolicy(2, 3, (8,), components=4)
    observation = 100 * torch.randn(64, 2)
    for cost in (-1e3, 0.0, 1e3):
        loss = sum(part.sum() for part in intervention_log_probs(human(observation), belief(observation), cost, 0.5))
        for policy in (human, belief):
            gradients = torch.autograd.grad(loss, list(policy.parameters()), retain_graph=True)
            assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.any() for gradient in gradients)
    assert expected_gap(human(observation), belief(observation)).isfinite().all()


def test_a_sample_by_inversion_follows_the_mixture():
    """Each part's share below some bounds is that of a million samples."""
    several = mixture(2, components=3, batch=1, seed=10)
    torch.manual_seed(0)
    many = MixtureSameFamily(
        Categorical(logits=several.mixture_distribution.logits.expand(200_000, -1)),
        several.component_distribution.expand(torch.Size([200_000, 3])),
    )
    inverted = draw(many, torch.rand(200_000, 2, dtype=torch.float64))
    sampled = several.sample(torch.Size([200_000])).squeeze(1)
    for bound in (-1.0, 0.0, 1.0):
        share = (inverted < bound).double().mean(0)
        torch.testing.assert_close(share, (sampled < bound).double().mean(0), atol=6e-3, rtol=0)
    together = (inverted < 0).all(-1).double().mean()
    assert float(together) == pytest.approx(float((sampled < 0).all(-1).double().mean()), abs=6e-3)


def test_the_mode_is_the_mean_with_the_highest_density():
    several = mixture(2, components=4, seed=11)
    means = several.component_distribution.mean
    for number, chosen in enumerate(mode(several)):
        densities = [float(several.log_prob(means[:, k].unsqueeze(0))[0, number]) for k in range(4)]
        assert torch.equal(chosen, means[number, densities.index(max(densities))])


def test_weights_and_points_carry_gradients():
    logits = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    mean = torch.tensor([[[0.0], [3.0]]], dtype=torch.float64, requires_grad=True)
    several = MixtureSameFamily(Categorical(logits=logits), Independent(Normal(mean, torch.ones_like(mean)), 1))
    log_weights, points = weighted_points(several)
    total = (log_weights.exp() * points.squeeze(-1).movedim(0, -1)).sum()  # the mean
    of_logits, of_mean = torch.autograd.grad(total, [logits, mean])
    torch.testing.assert_close(of_logits, torch.tensor([[-0.75, 0.75]], dtype=torch.float64))
    torch.testing.assert_close(of_mean, torch.full_like(mean, 0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"log_std_bounds": (1.0, 0.0)}, r"must be \(low, high\) with low < high, got \(1.0, 0.0\)"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MixturePolicy(2, 1, **options)


def test_it_says_how_it_computes():
    assert exactness(Categorical(logits=torch.zeros(3)), Categorical(logits=torch.zeros(3))) == "exact"
    assert exactness(gaussian(2), gaussian(2)) == exactness(gaussian(2), mixture(2)) == "exact"
    assert exactness(mixture(2), gaussian(2)) == "over 64 points of each component"
    flow, squashed = (
        FlowPolicy(2, 2, (8,))(torch.zeros(1, 2)),
        GaussianPolicy(2, 2, (8,), squash=True)(torch.zeros(1, 2)),
    )
    assert exactness(flow, gaussian(2)) == exactness(gaussian(2), flow) == "over 64 quasi-random points"
    assert exactness(mixture(2), squashed) == "over 1000 samples"
    assert exactness(GaussianPolicy(2, 2, (8,), squash=True)(torch.zeros(1, 2)), gaussian(2)) == "over 1000 samples"
