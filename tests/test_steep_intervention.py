"""Eq. 2 with diagonal Gaussians and a Φ so narrow that it is a step, against integrals in 20 digits and more."""

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal

from mile.intervention import intervention_log_probs


def breakpoints(b, scale, tail):
    """Points g ≥ 0 between which the integrands below are smooth: around the step at b, and along both tails."""
    if b > 0:
        points = [b + k * scale for k in (-12, -6, -2, 2, 6, 12)]
        start = b + 12 * scale
    else:
        points = [k * tail for k in (1, 4, 15, 60)]
        start = 60 * tail
    points += [g for g in (0.3, 4, 20, 60) if g < b - 12 * scale]
    points += [start + k for k in (0.3, 2, 8, 25, 90)]

    zero = mpmath.mpf(0)
    return sorted({max(g, zero) for g in points} | {zero})


def integrals(dims, b, scale):
    """log p(ν=0), log p(ν=1) and their derivatives by b, by tanh-sinh quadrature over g in 20 digits."""
    with mpmath.workdps(20):
        b, scale, shape = mpmath.mpf(b), mpmath.mpf(scale), mpmath.mpf(dims) / 2
        tail = scale**2 / (abs(b) + scale)  # length over which Φ falls where b < 0
        points = breakpoints(b, scale, tail)

        def density(g):
            return g ** (shape - 1) * mpmath.exp(-g) / mpmath.gamma(shape) if g > 0 else 0

        def integral(function, size):  # the quadrature stops at an absolute error
            return size * mpmath.quad(lambda g: density(g) * function((g - b) / scale) / size, points)

        # about how large each integral is
        size_0 = density(b) if b > 1 else 1
        size_1 = mpmath.ncdf(b / scale) * tail**shape if b < 0 else min(b + scale, 1) ** shape
        size_slope = size_1 / scale if b < 0 else density(b + scale)

        p_0, p_1 = integral(mpmath.ncdf, size_0), integral(lambda z: mpmath.ncdf(-z), size_1)
        slope = integral(lambda z: mpmath.npdf(z) / scale, size_slope)

        # both logarithms from the smaller probability
        log_0 = mpmath.log(p_0) if p_0 < 0.5 else mpmath.log1p(-p_1)
        log_1 = mpmath.log(p_1) if p_1 < 0.5 else mpmath.log1p(-p_0)
        return [float(value) for value in (log_0, log_1, -slope / p_0, slope / p_1)]


def closed_form(b, scale):
    """The same in two dimensions, where g is exponential."""
    with mpmath.workdps(60):
        b, scale = mpmath.mpf(b), mpmath.mpf(scale)
        beyond = mpmath.exp(scale**2 / 2 - b) * mpmath.ncdf(b / scale - scale)
        p_0, p_1 = mpmath.ncdf(-b / scale) + beyond, mpmath.ncdf(b / scale) - beyond
        return [float(value) for value in (mpmath.log(p_0), mpmath.log(p_1), -beyond / p_0, beyond / p_1)]


def check_steep(dims, b, scale, truth):
    """Compare values and gradients by all four parameters with truth(b), a function of b = K − c."""
    # two Gaussians
    generator = torch.Generator().manual_seed(dims)
    mean, belief_mean = torch.randn(2, 1, dims, generator=generator, dtype=torch.float64)
    std, belief_std = 0.2 + torch.rand(2, 1, dims, generator=generator, dtype=torch.float64)
    parameters = [part.clone().requires_grad_() for part in (mean, std, belief_mean, belief_std)]
    human, mental_model = Independent(Normal(*parameters[:2]), 1), Independent(Normal(*parameters[2:]), 1)

    # K and its derivatives
    difference = belief_mean - mean
    largest = (0.5 * (belief_std**2 + difference**2) / std**2).sum().item()
    by_std = -(belief_std**2 + difference**2) / std**3
    slopes = [-difference / std**2, by_std, difference / std**2, belief_std / std**2]

    # compare
    cost = largest - b
    expected = truth(largest - cost)  # b as rounded
    log_probs = intervention_log_probs(human, mental_model, cost, scale)
    for log_prob, value, slope in zip(log_probs, expected[:2], expected[2:], strict=True):
        assert log_prob.item() == pytest.approx(value, rel=2e-10, abs=2e-10)
        gradients = torch.autograd.grad(log_prob.sum(), parameters, retain_graph=True)
        for gradient, slope_of_k in zip(gradients, slopes, strict=True):
            torch.testing.assert_close(gradient, slope * slope_of_k, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("b", [-1e3, -0.05, 0.07, 2.0, 1e4])
@pytest.mark.parametrize("scale", [0.01, 0.2])
@pytest.mark.parametrize("dims", [1, 8])
def test_a_steep_phi_agrees_with_integration_in_twenty_digits(dims, scale, b):
    check_steep(dims, b, scale, lambda rounded: integrals(dims, rounded, scale))


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(0.01, 0.25, exclude_max=True),
    b=st.floats(-1e3, 1e4) | st.floats(-2, 4) | st.floats(-0.1, 0.1),
)
@example(scale=0.05, b=0.45)
@example(scale=0.01, b=-1e3)
@example(scale=0.01, b=1e4)
def test_a_steep_phi_agrees_with_the_closed_form_in_two_dimensions(scale, b):
    check_steep(2, b, scale, lambda rounded: closed_form(rounded, scale))


@pytest.mark.parametrize("cost", [0.0, 1e4, 2e4])
@pytest.mark.parametrize("scale", [0.2, 0.01])
def test_a_steep_phi_keeps_single_precision_finite_and_right(scale, cost):
    mean, belief_mean = torch.zeros(1, 2), torch.full((1, 2), 100.0)  # K = 10 001, exact in float32
    parameters = [mean, torch.ones(1, 2), belief_mean, torch.ones(1, 2)]
    for parameter in parameters:
        parameter.requires_grad_()
    human, mental_model = Independent(Normal(*parameters[:2]), 1), Independent(Normal(*parameters[2:]), 1)

    expected = closed_form(10_001 - cost, scale)
    log_probs = intervention_log_probs(human, mental_model, cost, scale)
    for log_prob, value, slope in zip(log_probs, expected[:2], expected[2:], strict=True):
        assert log_prob.dtype == torch.float32
        assert log_prob.item() == pytest.approx(value, rel=1e-6, abs=1e-6)

        gradients = torch.autograd.grad(log_prob.sum(), parameters, retain_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients)
        # the derivative of K by a mean of the mental model is 100; log p(ν=1) = −5e11 leaves float64 four digits
        torch.testing.assert_close(gradients[2], torch.full((1, 2), 100 * slope), rtol=1e-3, atol=1e-4)
