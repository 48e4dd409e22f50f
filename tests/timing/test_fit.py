"""The parameters of simulated humans, learnt from their attempts."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import chi2
from torch.distributions import Categorical

from mile.timing import Attempts, Gap, HumanLikelihood, HumanSearch, Memoryless, People, Sticky, fit_human
from mile.timing.fixed_gap import fixed_gap
from tests.timing.people import COST, MODELS, SCALE, categoricals, gap_of, gaussians
from tests.timing.test_models import at

ATTEMPTS, T = 30, 60
PEOPLE = 4
STARTS = {  # far from the truth
    "memoryless": MODELS["memoryless"],
    "sticky": Sticky(release_cost=-2.0),
    "delayed": type(MODELS["delayed"])(release_cost=-2.0, median_delay=3.0, longest_delay=4),
}


def simulate(model, gap, cost):
    """Return what humans do, who decide step by step."""
    state, decisions = model.begin(torch.Size([ATTEMPTS])), []
    for step in range(T):
        now = Gap(at(gap.human, step), at(gap.mental_model, step), gap.scale)
        (_, log_prob), state = model.decide(state, now, cost)
        intervened = torch.rand(ATTEMPTS, dtype=torch.float64) < log_prob.exp()
        state = model.after(state, now, intervened, torch.zeros(ATTEMPTS))
        decisions.append(intervened)
    return attempts_of(torch.stack(decisions, 1))


def attempts_of(intervened):
    return Attempts(intervened, torch.ones_like(intervened))


def constant_gap(value):
    """Return a gap with a single value in all steps: a human with two actions, sure of one of them."""
    # E_π̂[ln π_h] = q ln(1 − ε) + (1 − q) ln ε, against ln(1 − ε) almost surely
    surprise = 40.0
    human = Categorical(logits=torch.tensor([0.0, -surprise], dtype=torch.float64))
    share = value / surprise
    robot = Categorical(probs=torch.tensor([1 - share, share], dtype=torch.float64))
    shape = torch.Size([ATTEMPTS, T])
    return Gap(human.expand(shape), robot.expand(shape), 1.0)


@pytest.mark.parametrize("make", [gaussians, categoricals])
@pytest.mark.parametrize("name", STARTS)
def test_simulated_humans_parameters_are_recovered_from_thirty_attempts(name, make):
    """The likelihood ratios of the truth, summed over people, are those of χ² with so many parameters."""
    model, cost = MODELS[name], COST if make is gaussians else 0.8
    ratios, costs, count = 0.0, [], 0
    for seed in range(PEOPLE):
        torch.manual_seed(seed)
        gap = gap_of(name, ATTEMPTS, T, make=make)
        attempts = simulate(model, gap, cost)
        fit = fit_human(gap._replace(scale=2.0), attempts, STARTS[name], 4.0, 2.0, intervals=False)
        costs.append(fit.cost)

        # what it says of its own likelihood is right, and it is not below the truth's
        direct = fit.timing.log_likelihood(gap._replace(scale=fit.scale), attempts, fit.cost).sum()
        assert fit.log_likelihood == pytest.approx(float(direct), abs=0.01)
        true = float(model.log_likelihood(gap, attempts, cost).sum())
        assert fit.log_likelihood > true - 0.01
        ratios += 2 * (fit.log_likelihood - true)
        count += len(fit.parameters())

    assert ratios < chi2.ppf(0.999, count)
    assert abs(np.mean(costs) - cost) < 0.3


@pytest.mark.parametrize("name", STARTS)
def test_a_start_whose_scale_is_fifty_times_too_small_ends_at_the_same_likelihood(name):
    """As with policies that are not the human's own, where σ has to make up for gaps of hundreds of nats."""
    torch.manual_seed(0)
    gap, model = gap_of(name, ATTEMPTS, T, make=categoricals), MODELS[name]
    attempts = simulate(model, gap, 0.8)
    near = fit_human(gap, attempts, model, 0.8, SCALE, intervals=False)
    far = fit_human(gap, attempts, STARTS[name], 0.8, SCALE / 50, intervals=False)
    assert far.log_likelihood == pytest.approx(near.log_likelihood, abs=0.01)


def test_an_interval_holds_the_estimate():
    torch.manual_seed(0)
    gap = gap_of("sticky", ATTEMPTS, T, make=categoricals)
    fit = fit_human(gap, simulate(MODELS["sticky"], gap, 0.8), STARTS["sticky"], 1.0, 1.0)
    assert set(fit.intervals) == {"cost", "scale", "release_cost"}
    for parameter, (low, high) in fit.intervals.items():
        assert low < fit.parameters()[parameter] < high


def test_the_ends_of_an_interval_have_a_likelihood_ratio_of_384():
    """The profile is found by brute force: the largest likelihood on a grid of scales."""
    torch.manual_seed(6)
    gap = gap_of("memoryless", ATTEMPTS, T, make=categoricals)
    attempts = simulate(Memoryless(), gap, 0.8)
    fit = fit_human(gap, attempts, Memoryless(), 1.0, 1.0)

    def profile(cost):
        scales = np.exp(np.linspace(math.log(fit.scale / 3), math.log(fit.scale * 3), 150))
        return max(total(cost, scale) for scale in scales)

    def total(cost, scale):
        return float(Memoryless().log_likelihood(gap._replace(scale=float(scale)), attempts, cost).sum())

    for end in fit.intervals["cost"]:
        assert 2 * (fit.log_likelihood - profile(end)) == pytest.approx(3.84, abs=0.05)


def test_a_place_of_a_profile_is_searched_once(monkeypatch):
    """Another search of it may end in another maximum, on the other side of the interval's end."""
    torch.manual_seed(0)
    gap = gap_of("memoryless", ATTEMPTS, T, make=categoricals)
    attempts = simulate(Memoryless(), gap, 0.8)
    search = HumanSearch(HumanLikelihood(gap, attempts, Memoryless(), 0.8, SCALE))
    ratio, places = search.ratio, []

    def noted(name, value, start=None):
        places.append(value)
        return ratio(name, value, start)

    monkeypatch.setattr(search, "ratio", noted)
    search.end("cost", 1)
    assert len(places) == len(set(places))


def test_with_a_constant_gap_the_estimate_is_that_of_a_binomial_share():
    gap = constant_gap(3.0)
    intervened = torch.zeros(ATTEMPTS, T, dtype=torch.bool)
    intervened[:, ::4] = True
    fit = fit_human(gap, attempts_of(intervened), Memoryless(), 1.0, 0.5, hold=["scale"])
    assert fit.onsets == ATTEMPTS * 15
    assert fit.scale == 0.5
    assert fit.cost == pytest.approx(3.0 - 0.5 * ndtri(0.25), abs=1e-4)  # Φ((3 − c)/σ) = ¼

    # the ends, from the likelihood of a binomial share
    count, ones = ATTEMPTS * T, ATTEMPTS * 15

    def log_likelihood(share):
        return ones * math.log(share) + (count - ones) * math.log(1 - share)

    for end in fit.intervals["cost"]:
        share = 0.5 * math.erfc((end - 3.0) / 0.5 / math.sqrt(2))
        assert 2 * (log_likelihood(0.25) - log_likelihood(share)) == pytest.approx(3.84, abs=0.02)


@pytest.mark.parametrize("model", [Memoryless(), Sticky(release_cost=0.0)])
@pytest.mark.parametrize("always", [False, True])
def test_without_a_decision_one_end_is_open_and_the_estimate_is_finite(model, always):
    torch.manual_seed(7)
    gap = gap_of("memoryless", ATTEMPTS, T, make=categoricals)
    intervened = torch.full((ATTEMPTS, T), always)
    fit = fit_human(gap, attempts_of(intervened), model, 1.0, 1.0)
    low, high = fit.intervals["cost"]
    if always:
        assert (low, math.isfinite(high)) == (-math.inf, True)
    else:
        assert (math.isfinite(low), high) == (True, math.inf)
    assert low <= fit.cost <= high
    assert fit.intervals["scale"] == (0.0, math.inf)
    assert fit.log_likelihood == pytest.approx(-0.01, abs=0.01)
    fit.timing.check(fit.cost)


def test_without_a_hand_back_the_cost_of_staying_is_open_below():
    torch.manual_seed(8)
    gap = gap_of("memoryless", ATTEMPTS, T, make=categoricals)
    first = torch.randint(1, T, (ATTEMPTS, 1))
    fit = fit_human(gap, attempts_of(torch.arange(T) >= first), Sticky(0.0), 1.0, 1.0, hold=["scale"])
    low, high = fit.intervals["release_cost"]
    assert low == -math.inf
    assert fit.timing.release_cost < high < fit.cost
    assert all(math.isfinite(end) for end in fit.intervals["cost"])


def test_a_prior_pulls_the_estimate_and_closes_the_interval():
    gap = constant_gap(3.0)
    silent = attempts_of(torch.zeros(ATTEMPTS, T, dtype=torch.bool))
    fit = fit_human(gap, silent, Memoryless(), 1.0, 1.0, prior=People(cost=(2.0, 1.0)), hold=["scale"])
    low, high = fit.intervals["cost"]
    assert low < fit.cost < high < 20

    # its maximum, on a grid
    costs = np.linspace(2, 12, 100001)
    silence = np.array([math.erfc(-(cost - 3) / math.sqrt(2)) / 2 for cost in costs])
    penalised = ATTEMPTS * T * np.log(silence) - 0.5 * (costs - 2) ** 2
    assert fit.cost == pytest.approx(costs[penalised.argmax()], abs=1e-3)


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.7, 40.0])
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_a_fixed_gap_is_that_of_its_policies(dims, scale):
    torch.manual_seed(9)
    gap = Gap(gaussians(200, dims=dims), gaussians(200, dims=dims), scale)
    fixed = fixed_gap(gap, scale)
    for cost in (-20.0, 0.5, 3.0, 30.0):
        for one, other in zip(fixed.log_probs(cost), gap.log_probs(cost), strict=True):
            torch.testing.assert_close(one.exp(), other.exp(), atol=2e-5, rtol=0)
            if scale != 0.3:  # where the quadrature itself errs in the tails
                torch.testing.assert_close(one[other > -10], other[other > -10], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["accumulating", "believing", "tired"])
def test_models_with_parameters_of_their_own_explain_more_than_the_truth(name):
    torch.manual_seed(10)
    model = MODELS[name]
    gap = gap_of(name, 4, 10, make=categoricals)
    intervened = torch.rand(4, 10) < 0.4
    attempts = Attempts(intervened, torch.ones_like(intervened), gap.human.sample())
    fit = fit_human(gap, attempts, model, COST, SCALE, intervals=False)
    own = {"accumulating": "leak", "believing": "memory", "tired": "cost_per_step"}[name]
    assert fit.parameters()[own] != getattr(model, own)
    start = float(model.log_likelihood(gap, attempts, COST).sum())
    again = float(fit.timing.log_likelihood(gap._replace(scale=fit.scale), attempts, fit.cost).sum())
    assert fit.log_likelihood == pytest.approx(again, abs=1e-3)
    assert fit.log_likelihood >= start


def test_a_delay_beyond_the_longest_one_is_estimated_as_the_longest():
    torch.manual_seed(11)
    human = Categorical(logits=torch.tensor([6.0, 0.0], dtype=torch.float64).expand(ATTEMPTS, T, 2))
    surprise = torch.zeros(ATTEMPTS, T, 2, dtype=torch.float64)
    surprise[:, 5:8, 1] = 40.0  # the robot errs for three steps, and the human takes over 30 steps later
    intervened = torch.zeros(ATTEMPTS, T, dtype=torch.bool)
    intervened[:, 36] = True
    gap = Gap(human, Categorical(logits=surprise), 1.0)
    delayed = type(MODELS["delayed"])(release_cost=-2.0, median_delay=3.0, longest_delay=30)
    fit = fit_human(gap, attempts_of(intervened), delayed, 3.0, 1.0, hold=["scale", "release_cost"])
    low, high = fit.intervals["median_delay"]
    assert 20 < low <= fit.parameters()["median_delay"] <= high <= 30


def test_bad_input_is_named():
    gap = constant_gap(3.0)
    attempts = attempts_of(torch.zeros(ATTEMPTS, T, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"hold must name some of cost, scale, got 'leak'"):
        fit_human(gap, attempts, Memoryless(), 1.0, 1.0, hold=["leak"])
    with pytest.raises(ValueError, match=r"shape of the attempts, \[3, 2\]"):
        fit_human(gap, attempts_of(torch.zeros(3, 2, dtype=torch.bool)), Memoryless(), 1.0, 1.0)
    with pytest.raises(ValueError, match="below the cost of taking over"):
        fit_human(gap, attempts, Sticky(2.0), 1.0, 1.0)
