"""Normalising flows: densities against integration, expectations against a million samples, modes against a grid."""

import pytest
import torch
from torch.special import ndtr

from mile.expectations import divergence, expected_log_prob
from mile.intervention import intervention_log_probs
from mile.policies import FlowPolicy, load_policy, save_policy
from mile.policies.sampling import draw, mode

COST, SCALE = 1.0, 1.0
STATES = 3


def flow(dims, seed=0, near=None, strength=5):
    """Flows in some states, bent and split; near another seed's if asked for."""
    policies = []
    for each in (seed,) if near is None else (near, seed):
        torch.manual_seed(each)
        policies.append(FlowPolicy(4, dims, (16,)).double())
    policy = policies[-1]
    with torch.no_grad():
        if near is not None:
            for own, others in zip(policy.parameters(), policies[0].parameters(), strict=True):
                own.copy_(others + 0.3 * own)
        policy.network[-1].weight.mul_(strength)
        torch.manual_seed(0)
        policy.requires_grad_(False)
        return policy(2 * torch.randn(STATES, 4, dtype=torch.float64))


def on_grid(dims, distribution, reach=15.0):
    """Points, log-densities at them, and the area of each."""
    line = torch.linspace(-reach, reach, 20_001 if dims == 1 else 1201, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(*[line] * dims, indexing="ij"), -1).reshape(-1, 1, dims)
    points = points.expand(-1, STATES, -1)
    parts = [distribution.log_prob(part) for part in points.split(50_000)]
    return points, torch.cat(parts), float(line[1] - line[0]) ** dims


def mean_of_a_million(distribution, function):
    parts = [function(distribution.sample(torch.Size([20_000]))).mean(0) for _ in range(50)]
    return torch.stack(parts).mean(0)


@pytest.mark.parametrize("dims", [1, 2])
def test_the_density_is_one_in_sum_and_that_of_the_samples(dims):
    several = flow(dims, strength=2)
    points, log_density, area = on_grid(dims, several)
    density = log_density.exp()
    torch.testing.assert_close(density.sum(0) * area, torch.ones(STATES, dtype=torch.float64), atol=2e-3, rtol=0)

    torch.manual_seed(0)
    samples = several.sample(torch.Size([200_000]))
    for bound in (-1.0, 0.0, 1.0):
        below = (points < bound).all(-1)
        share = (density * below).sum(0) * area
        torch.testing.assert_close((samples < bound).all(-1).double().mean(0), share, atol=1.5e-2, rtol=0)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_probability_of_intervention_is_that_of_a_million_samples(dims):
    human, belief = flow(dims, seed=1), flow(dims, seed=2, near=1)
    log_not, log_intervene = intervention_log_probs(human, belief, COST, SCALE)
    torch.manual_seed(0)
    expected = mean_of_a_million(belief, human.log_prob)
    sampled = mean_of_a_million(human, lambda action: ndtr((human.log_prob(action) - expected - COST) / SCALE))
    torch.testing.assert_close(log_intervene.exp(), sampled, atol=3e-2, rtol=0)
    torch.testing.assert_close(log_not.exp() + log_intervene.exp(), torch.ones(STATES, dtype=torch.float64))


def test_in_one_dimension_it_is_what_numerical_integration_says():
    human, belief = flow(1, seed=3), flow(1, seed=4, near=3)
    _, own, width = on_grid(1, human, reach=30)
    _, others, _ = on_grid(1, belief, reach=30)
    expected = (others.exp() * own).sum(0) * width
    torch.testing.assert_close(expected_log_prob(human, belief), expected, atol=0.05, rtol=0.05)
    expected = (own.exp() * (own - others)).sum(0) * width
    torch.testing.assert_close(divergence(human, belief), expected, atol=0.05, rtol=0.05)


def test_gradients_are_finite_far_out_and_reach_every_parameter():
    torch.manual_seed(0)
    human, belief = FlowPolicy(2, 3, (8,)), FlowPolicy(2, 3, (8,))
    observation = 100 * torch.randn(64, 2)
    for cost in (-1e3, 0.0, 1e3):
        loss = sum(part.sum() for part in intervention_log_probs(human(observation), belief(observation), cost, 0.5))
        for policy in (human, belief):
            gradients = torch.autograd.grad(loss, list(policy.parameters()), retain_graph=True)
            assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("dims", [1, 2])
def test_a_sample_from_uniform_numbers_follows_the_flow(dims):
    several = flow(dims, seed=5)
    torch.manual_seed(0)
    inverted = draw(several.expand(torch.Size([100_000, STATES])), torch.rand(100_000, STATES, dims).double())
    sampled = several.sample(torch.Size([100_000]))
    for bound in (-1.0, 0.0, 1.0):
        shares = [(values < bound).double().mean(0) for values in (inverted, sampled)]
        torch.testing.assert_close(*shares, atol=1.5e-2, rtol=0)


@pytest.mark.parametrize("dims", [1, 2])
def test_the_mode_is_that_of_many_samples_as_smoothed(dims):
    several = flow(dims, seed=6)
    torch.manual_seed(0)
    samples = several.sample(torch.Size([20_000])).movedim(0, 1)  # [states, samples, dims]
    chosen = mode(several)
    for number in range(STATES):
        width = samples[number].std(0) * 64 ** (-1 / (dims + 4))
        centres = torch.cat([samples[number, :500], chosen[number : number + 1]]) / width
        crowd = (-0.5 * torch.cdist(centres, samples[number] / width).square()).exp().mean(-1)
        assert crowd[-1] > 0.93 * crowd.max()


@pytest.mark.parametrize("dims", [1, 2])
def test_it_learns_two_modes_and_no_bridge_between_them(dims):
    """Two ways, ±0.8 in every part together, where the middle is never right."""
    torch.manual_seed(0)
    policy = FlowPolicy(1, dims, (32,))
    side = torch.randint(2, (512, 1)) * 2.0 - 1
    actions, observations = 0.8 * side + 0.05 * torch.randn(512, dims), torch.zeros(512, 1)
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        loss = -policy(observations).log_prob(actions).mean()
        loss.backward()
        optimizer.step()

    with torch.no_grad():
        samples = policy(observations).sample()
        chosen = policy.act(observations[:1])
    assert ((chosen.abs() - 0.8).abs() < 0.15).all()
    assert float((samples.abs() < 0.4).all(-1).float().mean()) < 0.1  # some mass lies on the way between
    assert 0.35 < float((samples > 0).all(-1).float().mean()) < 0.65


def test_it_is_saved_and_loaded(tmp_path):
    policy = FlowPolicy(4, 2, (8,), couplings=3, bins=5)
    save_policy(policy, tmp_path / "flow", environment="any")
    again, observation = load_policy(tmp_path / "flow"), torch.randn(5, 4)
    assert torch.equal(again.act(observation), policy.act(observation))
    assert again(observation).event_shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 1}, "a flow needs at least 0 couplings and 2 bins, got 2 and 1"),
        ({"log_std_bounds": (1.0, 0.0)}, r"must be \(low, high\) with low < high, got \(1.0, 0.0\)"),
    ],
)
def test_a_flow_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FlowPolicy(2, 1, **options)
