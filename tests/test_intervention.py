import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, Normal, TanhTransform, TransformedDistribution

from mile.intervention import expected_gap, gap_parts, intervention_floor, intervention_log_probs


def gaussian(batch, dims, generator, dtype=torch.float64):
    mean = torch.randn(batch, dims, generator=generator, dtype=dtype)
    std = 0.2 + torch.rand(batch, dims, generator=generator, dtype=dtype)
    return Independent(Normal(mean, std), 1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0, 200.0])
@pytest.mark.parametrize("dims", range(1, 9))
def test_gaussian_agrees_with_a_million_samples(dims, scale):
    generator = torch.Generator().manual_seed(dims)
    human, mental_model = gaussian(3, dims, generator), gaussian(3, dims, generator)
    cost = float(2 * torch.randn((), generator=generator))
    torch.manual_seed(dims)
    samples = 1_000_000
    # independent truth: Eq. 2 by sampling a, with the inner expectation in closed form from the entropy integrals
    expected = human.log_prob(mental_model.sample((samples,))).mean(0)
    x = (human.log_prob(human.sample((samples,))) - expected - cost) / scale
    phi = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    inner_error = human.log_prob(mental_model.sample((samples,))).std(0) / samples**0.5 / scale * 0.4
    error = 5 * (phi.std(0) / samples**0.5 + inner_error)
    _, log_prob = intervention_log_probs(human, mental_model, cost, scale)
    assert ((log_prob.exp() - phi.mean(0)).abs() < error + 1e-7).all()


def enumerate_categorical(human, mental_model, cost, scale):
    probs = []
    for own, belief in zip(human.probs.tolist(), mental_model.probs.tolist(), strict=True):
        expected = sum(q * math.log(p) for p, q in zip(own, belief, strict=True))
        phi = [0.5 * math.erfc(-(math.log(p) - expected - cost) / scale / math.sqrt(2)) for p in own]
        probs.append(sum(p * f for p, f in zip(own, phi, strict=True)))
    return torch.tensor(probs, dtype=torch.float64)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    actions=st.integers(2, 7),
    cost=st.floats(-10, 10),
    scale=st.floats(0.05, 100),
)
def test_categorical_agrees_with_enumeration(seed, actions, cost, scale):
    generator = torch.Generator().manual_seed(seed)
    human, mental_model = (
        Categorical(logits=3 * torch.randn(4, actions, generator=generator, dtype=torch.float64)) for _ in range(2)
    )
    log_none, log_prob = intervention_log_probs(human, mental_model, cost, scale)
    torch.testing.assert_close(log_prob.exp(), enumerate_categorical(human, mental_model, cost, scale))
    torch.testing.assert_close(log_none.exp() + log_prob.exp(), torch.ones(4, dtype=torch.float64))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), dims=st.integers(1, 8), cost=st.floats(-200, 200), scale=st.floats(0.1, 200))
def test_probabilities_sum_to_one_in_single_precision(seed, dims, cost, scale):
    generator = torch.Generator().manual_seed(seed)
    pair = [gaussian(5, dims, generator, torch.float32) for _ in range(2)]
    log_none, log_prob = intervention_log_probs(pair[0], pair[1], cost, scale)
    assert (log_none.exp() + log_prob.exp() - 1).abs().max() <= 1e-6


@pytest.mark.parametrize("gap", [1e4, -1e4])
@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_values_and_gradients_stay_finite_for_enormous_gaps(kind, gap):
    if kind == "categorical":
        own, belief = torch.tensor([[0.0, gap]]), torch.tensor([[0.0, -gap]])
        parameters = [own.requires_grad_(), belief.requires_grad_()]
        human, mental_model, cost = Categorical(logits=own), Categorical(logits=belief), 3.0
    else:
        own, belief = torch.zeros(1, 2), torch.full((1, 2), 100.0)  # K = 10 001
        parameters = [own.requires_grad_(), belief.requires_grad_()]
        human, mental_model = (Independent(Normal(mean, torch.ones(1, 2)), 1) for mean in parameters)
        cost = 0.0 if gap > 0 else 2e4
    log_probs = intervention_log_probs(human, mental_model, cost, 1.0)
    sum(log_probs).sum().backward()
    for value in (*log_probs, *(parameter.grad for parameter in parameters)):
        assert value.isfinite().all()


def test_gradient_reaches_both_networks_and_is_right():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(4)]

    def log_probs(mean, log_std, belief, belief_log_std):
        return intervention_log_probs(
            Independent(Normal(mean, log_std.exp()), 1), Independent(Normal(belief, belief_log_std.exp()), 1), 1.0, 2.0
        )

    assert torch.autograd.gradcheck(log_probs, inputs)


def test_other_distributions_are_sampled_and_agree_with_the_gaussian_they_equal():
    generator = torch.Generator().manual_seed(1)
    human, mental_model = gaussian(4, 2, generator), gaussian(4, 2, generator)
    identity = [torch.distributions.AffineTransform(0.0, 1.0)]
    disguised = Independent(TransformedDistribution(human.base_dist, identity), 1)
    torch.manual_seed(0)
    _, exact = intervention_log_probs(human, mental_model, 0.5, 2.0)
    _, sampled = intervention_log_probs(disguised, mental_model, 0.5, 2.0)
    assert (exact.exp() - sampled.exp()).abs().max() < 0.05


def test_squashed_gaussian_is_differentiable():
    mean = torch.zeros(3, 2, requires_grad=True)
    squashed = Independent(TransformedDistribution(Normal(mean, torch.ones(3, 2)), TanhTransform(cache_size=1)), 1)
    torch.manual_seed(0)
    sum(intervention_log_probs(squashed, squashed, 0.0, 1.0)).sum().backward()
    assert mean.grad is not None
    assert mean.grad.isfinite().all()


def test_floor_where_human_and_robot_agree_on_one_action():
    certain = Categorical(logits=torch.tensor([[100.0, 0.0]]))
    _, log_prob = intervention_log_probs(certain, certain, 75.0, 175.0)
    assert log_prob.exp().item() == pytest.approx(0.3341, abs=1e-4)  # Φ(−75/175): Peg-Insert's floor in Table I


def test_expected_gap_is_the_kl_difference():
    generator = torch.Generator().manual_seed(2)
    human, mental_model = gaussian(4, 3, generator), gaussian(4, 3, generator)
    # E_h[ln h] − E_m[ln h] = −H(h) + H(m) + KL(m‖h)
    truth = -human.entropy() + mental_model.entropy() + torch.distributions.kl_divergence(mental_model, human)
    torch.testing.assert_close(expected_gap(human, mental_model), truth)


@pytest.mark.parametrize(
    ("cost", "scale"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, math.nan)]
)
def test_bad_cost_or_scale_is_refused(cost, scale):
    uniform = Categorical(logits=torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"must be finite"):
        intervention_log_probs(uniform, uniform, cost, scale)


def test_distribution_without_rsample_is_refused():
    poisson = torch.distributions.Poisson(torch.ones(2))
    with pytest.raises(TypeError, match="reparameterised"):
        intervention_log_probs(poisson, poisson, 0.0, 1.0)


def squashed(normal):
    return Independent(TransformedDistribution(normal.base_dist, TanhTransform()), 1)


@pytest.mark.parametrize("kind", [lambda normal: normal, squashed])
def test_the_gaps_parts_agree_with_sampling(kind):
    generator = torch.Generator().manual_seed(3)
    human, belief = kind(gaussian(3, 4, generator)), kind(gaussian(3, 4, generator))
    torch.manual_seed(0)
    for part, acts in zip(gap_parts(human, belief), (human, belief), strict=True):
        log_probs = human.log_prob(acts.sample((100_000,)))
        assert ((part - log_probs.mean(0)).abs() < 5 * log_probs.std(0) / 1000**0.5).all()


def test_the_gaps_parts_of_a_case_done_by_hand():
    human, belief = Categorical(torch.tensor([0.5, 0.25, 0.25])), Categorical(torch.tensor([0.0, 0.5, 0.5]))
    own, expected = gap_parts(human, belief)
    assert own.item() == pytest.approx(-1.5 * math.log(2))
    assert expected.item() == pytest.approx(-2 * math.log(2))
    assert expected_gap(human, belief).item() == pytest.approx(0.5 * math.log(2))


def test_the_floor_is_the_probability_where_all_actions_are_alike():
    """Peg-Insert's pair of Table I: a third of the steps, whatever happens in them."""
    uniform = Categorical(torch.ones(5))
    _, log_prob = intervention_log_probs(uniform, uniform, 75.0, 175.0)
    assert intervention_floor(75, 175) == pytest.approx(log_prob.exp().item(), rel=1e-5)
    assert intervention_floor(75, 175) == pytest.approx(0.334, abs=5e-4)
