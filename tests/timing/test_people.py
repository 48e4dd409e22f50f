"""Simulated people against the likelihoods of what they do, and each model by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, norm
from torch.distributions import Categorical, Independent, Normal

from mile.intervention import expected_gap, intervention_log_probs
from mile.timing import Accumulating, Attempts, Believing, Delayed, Gap, Sticky, Tired
from mile.timing.believing import stack_hypotheses
from tests.timing.people import COST, MODELS, SCALE, categoricals, expand, gap_of, gaussians

T = 5
PEOPLE = 200_000


def at_step(gap, step, batch):
    """Return the gap of categorical policies `[T]` in one step, `[batch]`."""
    parts = []
    for part in (gap.human, gap.mental_model):
        logits = part.logits[step]
        parts.append(Categorical(logits=logits.expand(batch, *logits.shape)))
    return Gap(*parts, gap.scale)


def whole(*nu):
    """Return one attempt without executed actions."""
    intervened = torch.tensor(nu, dtype=torch.bool)
    return Attempts(intervened, torch.ones_like(intervened))


@pytest.mark.parametrize("name", MODELS)
def test_simulated_people_do_what_the_likelihood_says_as_often_as_it_says(name):
    torch.manual_seed(5)
    model, gap = MODELS[name], gap_of(name, T, make=categoricals)
    actions = gap.human.sample()

    # simulate
    state, counts = model.begin(torch.Size([PEOPLE])), torch.zeros(PEOPLE, dtype=torch.long)
    for step in range(T):
        now = at_step(gap, step, PEOPLE)
        (log_not, log_prob), state = model.decide(state, now, COST)
        torch.testing.assert_close(torch.logaddexp(log_not, log_prob), torch.zeros_like(log_prob), atol=1e-6, rtol=0)
        intervened = torch.rand(PEOPLE) < log_prob.exp()
        state = model.after(state, now, intervened, actions[step].expand(PEOPLE))
        counts = 2 * counts + intervened

    # compare
    sequences = torch.tensor(list(itertools.product([False, True], repeat=T)))
    attempts = Attempts(sequences, torch.ones_like(sequences), actions.expand(len(sequences), T))
    probs = model.log_likelihood(expand(gap, len(sequences)), attempts, COST).exp().double().numpy()
    observed = np.bincount(counts.numpy(), minlength=len(sequences))
    assert chisquare(observed, probs / probs.sum() * PEOPLE).pvalue > 1e-3


def test_a_takeover_at_a_constant_probability_of_staying_lasts_as_long_as_a_geometric_law_says():
    torch.manual_seed(0)
    people = 20_000
    model, gap = Sticky(release_cost=-1.0), gap_of("sticky", 1, make=categoricals)
    now = at_step(gap, 0, people)
    staying = gap.log_probs(-1.0)[1].exp().item()
    state = {"in_control": torch.ones(people, dtype=torch.bool)}  # they have just taken over
    length, lasts = torch.ones(people), torch.ones(people, dtype=torch.bool)
    while lasts.any():
        (_, log_prob), state = model.decide(state, now, 50.0)
        intervened = torch.rand(people) < log_prob.exp()
        state = model.after(state, now, intervened, torch.zeros(people))
        lasts &= intervened
        length += lasts
    assert 0.3 < staying < 0.95
    error = math.sqrt(staying) / (1 - staying) / people**0.5
    assert abs(length.mean().item() - 1 / (1 - staying)) < 4 * error


# accumulating


def test_accumulating_begins_anew_when_the_human_hands_back_and_at_no_other_time():
    torch.manual_seed(0)
    gap = gap_of("accumulating", 7)
    nu = (0, 1, 1, 0, 0, 1, 0)
    model = Accumulating(release_cost=-0.5, leak=0.3)
    log_probs = model.attempt_log_probs(gap, whole(*nu), COST)

    # by hand
    mean, controls, means = 0.0, False, []
    for gain, intervened in zip(expected_gap(gap.human, gap.mental_model).tolist(), nu, strict=True):
        mean = 0.7 * mean + 0.3 * gain
        z = (mean - (-0.5 if controls else COST)) / SCALE
        means.append((norm.logcdf(-z), norm.logcdf(z)))
        if controls and not intervened:
            mean = 0.0
        controls = bool(intervened)
    np.testing.assert_allclose(torch.stack(log_probs, -1).numpy(), means, rtol=1e-7)


def test_accumulating_without_memory_decides_as_sticky_by_the_expected_gap():
    torch.manual_seed(1)
    gap, nu = gap_of("accumulating", 20, 6), torch.rand(20, 6) < 0.5
    attempts = Attempts(nu, torch.ones_like(nu))
    _, log_prob = Accumulating(release_cost=-0.5, leak=1.0).attempt_log_probs(gap, attempts, COST)
    before = torch.nn.functional.pad(nu, (1, 0))[:, :-1]
    z = (expected_gap(gap.human, gap.mental_model) - torch.where(before, -0.5, COST)) / SCALE
    np.testing.assert_allclose(log_prob.numpy(), norm.logcdf(z.numpy()), rtol=1e-9)


# believing


def hypotheses(batch, means, stds):
    """Return Gaussian hypotheses in one dimension, the same in a batch."""
    parts = []
    for mean, std in zip(means, stds, strict=True):
        parts.append(Independent(Normal(torch.full((batch, 1), mean), torch.full((batch, 1), std)), 1))
    return stack_hypotheses(parts)


@pytest.mark.parametrize("memory", [1.0, 0.9, 0.0])
def test_a_belief_is_bayes_rule_with_forgetting(memory):
    """The second hypothesis's mean is clipped to 1, as executed actions are; nothing is learnt where ν=1."""
    means, stds, prior = [0.1, 3.0, -0.4], [0.5, 0.7, 0.3], [0.6, 0.3, 0.1]
    actions, nu = [0.2, 1.0, -0.6, 0.9, 0.0], [0, 0, 1, 0, 1]
    model = Believing(release_cost=-0.5, prior=prior, memory=memory)
    one = hypotheses(1, means, stds)
    gap = Gap(Independent(Normal(torch.zeros(1, 1), torch.ones(1, 1)), 1), one, SCALE)

    state, belief = model.begin(torch.Size([1])), np.array(prior)
    np.testing.assert_allclose(state["log_belief"].exp()[0], belief)
    for action, intervened in zip(actions, nu, strict=True):
        # what is decided now depends on what was seen before
        (_, log_prob), state = model.decide(state, gap, COST)
        expected = sum(weight * 0.5 * (s**2 + m**2) for weight, m, s in zip(belief, means, stds, strict=True))
        of_best = intervention_log_probs(gap.human, point_with_gap(expected), COST, SCALE)[1]
        if state["in_control"].item():
            of_best = intervention_log_probs(gap.human, point_with_gap(expected), -0.5, SCALE)[1]
        assert log_prob.item() == pytest.approx(of_best.item(), rel=1e-4)

        state = model.after(state, gap, torch.tensor([bool(intervened)]), torch.tensor([[action]]))
        likelihood = 1.0 if intervened else norm.pdf(action, np.clip(means, -1, 1), stds)
        belief = belief**memory * np.array(prior) ** (1 - memory) * likelihood
        belief = belief / belief.sum()
        np.testing.assert_allclose(state["log_belief"].exp()[0], belief, rtol=1e-5)

    if memory == 0:  # the last step has ν=1: all is forgotten
        np.testing.assert_allclose(state["log_belief"].exp()[0], prior, rtol=1e-5)


def point_with_gap(expected):
    """Return a single Gaussian with K = ½ (t² + m²) as expected, for a human N(0, 1)."""
    tiny = 1e-3
    return Independent(Normal(torch.tensor([[math.sqrt(2 * expected - tiny**2)]]), torch.tensor([[tiny]])), 1)


@pytest.mark.parametrize("make", [gaussians, categoricals])
def test_a_belief_in_one_hypothesis_alone_is_sticky(make):
    torch.manual_seed(2)
    human, robot = make(9, T), make(9, T)
    nu = torch.rand(9, T) < 0.5
    attempts = Attempts(nu, torch.ones_like(nu), robot.sample().clamp(-1, 2))
    gap = Gap(human, stack_hypotheses([robot, make(9, T), make(9, T)]), SCALE)
    believing = Believing(release_cost=-0.5, prior=(1 - 2e-40, 1e-40, 1e-40), memory=1.0)
    likelihood = believing.log_likelihood(gap, attempts, COST)
    sticky = Sticky(release_cost=-0.5).log_likelihood(Gap(human, robot, SCALE), attempts, COST)
    torch.testing.assert_close(likelihood, sticky, atol=1e-6, rtol=1e-6)


def test_a_belief_needs_the_executed_actions():
    gap = gap_of("believing", 1, T)
    nu = torch.zeros(1, T, dtype=torch.bool)
    with pytest.raises(ValueError, match="needs the executed actions"):
        MODELS["believing"].log_likelihood(gap, Attempts(nu, ~nu), COST)


# tired


def test_tired_by_hand():
    torch.manual_seed(3)
    gap, nu = gap_of("tired", T), (1, 0, 1, 1, 0)
    _, log_prob = Tired(cost_per_step=0.4).attempt_log_probs(gap, whole(*nu), COST)
    for step, steps_in_control in enumerate((0, 1, 1, 2, 3)):
        truth = intervention_log_probs(gap.human, gap.mental_model, COST + 0.4 * steps_in_control, SCALE)[1][step]
        assert log_prob[step].item() == pytest.approx(truth.item(), abs=1e-6)


# bad input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sticky(math.nan), "release_cost .* must be finite, got nan"),
        (lambda: Sticky(math.inf), "release_cost .* must be finite"),
        (lambda: Sticky(3.0).check(3.0), "release_cost .* must be below the cost of taking over"),
        (lambda: Delayed(3.0, 1.0).check(1.0), "release_cost .* must be below the cost of taking over"),
        (lambda: Delayed(0.0, -1.0), "median_delay .* at least 0 and finite, got -1.0"),
        (lambda: Delayed(0.0, math.nan), "median_delay .* at least 0 and finite, got nan"),
        (lambda: Delayed(math.nan, 1.0), "release_cost .* must be finite"),
        (lambda: Delayed(0.0, 1.0, delay_spread=0.0), "delay_spread must be above 0 and finite, got 0.0"),
        (lambda: Delayed(0.0, 1.0, delay_spread=math.inf), "delay_spread must be above 0 and finite"),
        (lambda: Delayed(0.0, 1.0, longest_delay=0), "longest_delay .* at least 1"),
        (lambda: Delayed(0.0, 30.0, longest_delay=20), "longest_delay .* at least 1 and median_delay"),
        (lambda: Delayed(0.0, 1.0, longest_delay=2.5), "longest_delay .* whole number"),
        (lambda: Delayed(0.0, 1.0, longest_delay=math.nan), "longest_delay .* whole number"),
        (lambda: Accumulating(0.0, leak=0.0), r"leak must lie in \(0, 1\], got 0.0"),
        (lambda: Accumulating(0.0, leak=1.1), r"leak must lie in \(0, 1\]"),
        (lambda: Accumulating(0.0, leak=math.nan), r"leak must lie in \(0, 1\]"),
        (lambda: Believing(0.0, prior=()), "prior must be weights above 0 that add up to 1"),
        (lambda: Believing(0.0, prior=(0.5, 0.4, 0.2)), "prior must be weights above 0 that add up to 1"),
        (lambda: Believing(0.0, prior=(1.0, 0.0)), "prior must be weights above 0 that add up to 1"),
        (lambda: Believing(0.0, prior=(1.5, -0.5)), "prior must be weights above 0 that add up to 1"),
        (lambda: Believing(0.0, prior=(math.nan, 0.5, 0.5)), "prior must be weights above 0 that add up to 1"),
        (lambda: Believing(0.0, prior=(0.5, math.nan)), "prior must be weights above 0 that add up to 1"),
        (lambda: Believing(0.0, memory=1.5), r"memory must lie in \[0, 1\], got 1.5"),
        (lambda: Believing(0.0, memory=math.nan), r"memory must lie in \[0, 1\]"),
        (lambda: Tired(-0.1), "cost_per_step .* at least 0 and finite, got -0.1"),
        (lambda: Tired(math.nan), "cost_per_step .* at least 0 and finite"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_hypotheses_of_two_kinds_are_refused():
    with pytest.raises(TypeError, match="must be all categorical or all diagonal Gaussians"):
        stack_hypotheses([gaussians(2), categoricals(2)])
