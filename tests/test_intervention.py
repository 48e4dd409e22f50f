"""Eq. 1-2 against sums, samples and quadrature done elsewhere; `test_steep_intervention.py` has the narrow Φ."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, roots_genlaguerre
from scipy.stats import gamma
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Categorical, Independent, Normal, TanhTransform, TransformedDistribution
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mile.intervention import (
    expected_gap,
    gap_parts,
    intervention_floor,
    intervention_log_likelihood,
    intervention_log_probs,
)


def categorical(batch, actions, generator):
    return Categorical(logits=3 * torch.randn(batch, actions, generator=generator, dtype=torch.float64))


def gaussian(batch, dims, generator, dtype=torch.float64):
    mean = torch.randn(batch, dims, generator=generator, dtype=dtype)
    std = 0.2 + torch.rand(batch, dims, generator=generator, dtype=dtype)
    return Independent(Normal(mean, std), 1)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0, 2.5, 3.0, 20.0])
@pytest.mark.parametrize(("dims", "tolerance"), [(16, 1e-6), (48, 3e-6), (64, 1e-5), (256, 3e-3)])
def test_gaussians_over_many_dimensions_agree_with_quantiles_of_the_gap(dims, tolerance, scale):
    """Those of several actions at once; K − gap follows Gamma(d/2, 1), here by 400 000 of its quantiles."""
    human, mental_model = (gaussian(1, dims, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    own, expected = gap_parts(human, mental_model)
    best = float(human.log_prob(human.mean) - expected)
    quantiles = gamma.ppf((np.arange(400_000) + 0.5) / 400_000, dims / 2)
    for shift in (-1.0, 0.0, 1.0):
        cost = float(own - expected) + shift * math.sqrt(dims / 2)
        truth = ndtr((best - quantiles - cost) / scale).mean()
        _, log_prob = intervention_log_probs(human, mental_model, cost, scale)
        assert float(log_prob.exp()) == pytest.approx(truth, abs=tolerance)


def test_more_dimensions_than_can_be_computed_are_refused():
    human, mental_model = (gaussian(1, 257, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    with pytest.raises(ValueError, match=r"in at most 256 dimensions, got 257 .*choose a lower policy.execute"):
        intervention_log_probs(human, mental_model, 1.0, 1.0)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0, 200.0])
@pytest.mark.parametrize("dims", range(1, 9))
def test_gaussian_agrees_with_a_million_samples(dims, scale):
    generator = torch.Generator().manual_seed(dims)
    human, mental_model = gaussian(3, dims, generator), gaussian(3, dims, generator)
    cost = float(2 * torch.randn((), generator=generator))
    torch.manual_seed(dims)
    samples = 1_000_000

    # independent truth: Eq. 2 by sampling a and a'
    expected = human.log_prob(mental_model.sample((samples,))).mean(0)
    z = (human.log_prob(human.sample((samples,))) - expected - cost) / scale
    phi = 0.5 * (1 + torch.erf(z / math.sqrt(2)))

    # five standard errors; the slope of Φ is at most 0.4
    inner_error = human.log_prob(mental_model.sample((samples,))).std(0) / samples**0.5 / scale * 0.4
    error = 5 * (phi.std(0) / samples**0.5 + inner_error)

    _, log_prob = intervention_log_probs(human, mental_model, cost, scale)
    assert ((log_prob.exp() - phi.mean(0)).abs() < error + 1e-7).all()


def enumerate_categorical(human, mental_model, cost, scale):
    """Eq. 1 in Python's own numbers, one state after another."""
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
    human, mental_model = categorical(4, actions, generator), categorical(4, actions, generator)
    log_none, log_prob = intervention_log_probs(human, mental_model, cost, scale)
    torch.testing.assert_close(log_prob.exp(), enumerate_categorical(human, mental_model, cost, scale))
    torch.testing.assert_close(log_none.exp() + log_prob.exp(), torch.ones(4, dtype=torch.float64))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), dims=st.integers(1, 8), cost=st.floats(-200, 200), scale=st.floats(0.1, 200))
def test_probabilities_sum_to_one_in_single_precision(seed, dims, cost, scale):
    generator = torch.Generator().manual_seed(seed)
    human, mental_model = (gaussian(5, dims, generator, torch.float32) for _ in range(2))
    log_none, log_prob = intervention_log_probs(human, mental_model, cost, scale)
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

    def log_probs(mean, log_std, belief_mean, belief_log_std):
        human = Independent(Normal(mean, log_std.exp()), 1)
        mental_model = Independent(Normal(belief_mean, belief_log_std.exp()), 1)
        return intervention_log_probs(human, mental_model, 1.0, 2.0)

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
    normal = Normal(mean, torch.ones(3, 2))
    policy = Independent(TransformedDistribution(normal, TanhTransform(cache_size=1)), 1)
    torch.manual_seed(0)
    sum(intervention_log_probs(policy, policy, 0.0, 1.0)).sum().backward()
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
def test_the_parts_of_the_gap_agree_with_sampling(kind):
    generator = torch.Generator().manual_seed(3)
    human, belief = kind(gaussian(3, 4, generator)), kind(gaussian(3, 4, generator))
    torch.manual_seed(0)
    for part, actor in zip(gap_parts(human, belief), (human, belief), strict=True):
        log_probs = human.log_prob(actor.sample((100_000,)))
        assert ((part - log_probs.mean(0)).abs() < 5 * log_probs.std(0) / 1000**0.5).all()


def test_the_parts_of_the_gap_in_a_case_done_by_hand():
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


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dims=st.integers(1, 30),
    cost=st.floats(-1e4, 1e4) | st.floats(-5, 20),
    scale=st.floats(1e-4, 0.25, exclude_max=True),
)
def test_probabilities_of_a_steep_phi_sum_to_one(seed, dims, cost, scale):
    generator = torch.Generator().manual_seed(seed)
    human, mental_model = gaussian(5, dims, generator), gaussian(5, dims, generator)
    log_none, log_prob = intervention_log_probs(human, mental_model, cost, scale)
    assert (log_none.exp() + log_prob.exp() - 1).abs().max() <= 1e-10

    intervened = torch.arange(5) % 2 == 0
    log_likelihood = intervention_log_likelihood(human, mental_model, intervened, cost, scale)
    assert torch.equal(log_likelihood, torch.where(intervened, log_prob, log_none))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("scale", "nodes"), [(0.25, 256), (0.49, 256), (0.5, 128), (1.0, 64), (2.0, 32), (175.0, 32)])
@pytest.mark.parametrize("dims", [1, 4])
def test_a_wide_phi_is_gauss_laguerre_quadrature_to_the_last_bit(dims, scale, nodes, dtype):
    generator = torch.Generator().manual_seed(dims)
    human, mental_model = gaussian(50, dims, generator, dtype), gaussian(50, dims, generator, dtype)

    # by hand
    points, weights = (torch.from_numpy(part) for part in roots_genlaguerre(nodes, dims / 2 - 1))
    log_weights = weights[weights > 0].log().log_softmax(-1).to(dtype)
    deviation = mental_model.variance + (mental_model.mean - human.mean) ** 2
    gap = (0.5 * (deviation / human.variance).sum(-1)).unsqueeze(-1) - points[weights > 0].to(dtype)
    z = (gap - 1.5) / scale

    log_probs = intervention_log_probs(human, mental_model, 1.5, scale)
    for log_prob, signed_z in zip(log_probs, (-z, z), strict=True):
        truth = (log_weights + torch.special.log_ndtr(signed_z)).logsumexp(-1).clamp(max=0)
        assert log_prob.dtype == dtype
        assert torch.equal(log_prob, truth)


class NoDoubleOnMps(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        assert not any(tensor.device.type == "mps" and tensor.dtype == torch.float64 for tensor in tensors)
        return result


@pytest.mark.parametrize("scale", [0.1, 0.5])
def test_double_precision_is_not_asked_of_a_device_without(scale):
    with FakeTensorMode(allow_non_fake_inputs=True), NoDoubleOnMps():
        ones = torch.ones(3, 2, device="mps")
        normal = Independent(Normal(ones, ones, validate_args=False), 1)
        for log_prob in intervention_log_probs(normal, normal, 1.0, scale):
            assert (log_prob.device.type, log_prob.dtype) == ("mps", torch.float32)
